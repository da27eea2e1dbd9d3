//go:build !js

package check

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/opcases"
)

func TestRowsOfTheCheck(t *testing.T) {
	row := &checkRow{op: "matmul_nf4_forward", variant: "registers_16x4"}
	row.add(opcases.Result{Used: 0.0625}, 300*time.Millisecond)
	row.add(opcases.Result{Used: 0.03125}, 900*time.Millisecond)
	require.Equal(t, "matmul_nf4_forward                 registers_16x4        2      6.2 %    1.2 s", row.String())

	row.add(opcases.Result{Case: opcases.Case{Shape: "T3 N5"}, Used: 12, Detail: "element 7 is 0, 1.5 is right"}, 0)
	row.add(opcases.Result{Case: opcases.Case{Shape: "T4 N5"}, Err: errors.New("out of memory")}, 0)
	require.Equal(t,
		"matmul_nf4_forward                 registers_16x4        4   1200.0 %    1.2 s  WRONG in 2 cases, first T3 N5: element 7 is 0, "+
			"1.5 is right",
		row.String())
	row = &checkRow{op: "rope_forward"}
	row.add(opcases.Result{Case: opcases.Case{Shape: "T4"}, Err: errors.New("out of memory")}, 0)
	require.Contains(t, row.String(), "WRONG in 1 cases, first T4: out of memory")
}
