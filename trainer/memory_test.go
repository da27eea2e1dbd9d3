//go:build !js

package trainer

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/paging"
)

// Whatever is paged, losses and adapter are those of the resident run, and the allocator counts what was planned.
func TestPagingChangesNothing(t *testing.T) {
	model, data := demotest.Model(t, 5, nil), demotest.Rows(t, 8)
	run := func(budget, optim string) (result, *paging.Plan) {
		c := small(t, model, data)
		c.VRAMBudget, c.Optim, c.LoraR, c.MaxSteps = budget, optim, 16, 3
		var plan *paging.Plan
		r, err := tryTrain(t, t.Context(), c, func(e Event) {
			if e.Memory != nil {
				plan = e.Memory
			}
		})
		require.NoError(t, err)
		r.adapter = adapterOf(t, c)
		require.NotNil(t, plan)
		for _, s := range r.steps {
			require.InEpsilon(t, plan.Peak, s.PeakDeviceBytes, 0.01)
			if plan.Budget > 0 {
				require.LessOrEqual(t, s.PeakDeviceBytes, plan.Budget)
			}
		}
		return r, plan
	}
	resident, all := run("", "adamw_32bit")
	require.Zero(t, resident.steps[0].PageIns)
	t.Log(describePlan(all))
	require.LessOrEqual(t, float64(all.Minimum), 0.4*float64(all.Peak))
	for _, c := range []struct {
		budget int64
		optim  string
	}{{0, "paged_adamw_32bit"}, {all.Minimum, "adamw_32bit"}, {(all.Minimum + all.Peak) / 2, "adamw_32bit"}} {
		text := ""
		if c.budget > 0 {
			text = fmt.Sprintf("%dB", c.budget)
		}
		got, plan := run(text, c.optim)
		t.Log(describePlan(plan))
		t.Logf("%d page-ins, %d page-outs, %.1f ms stalled", got.steps[1].PageIns, got.steps[1].PageOuts, got.steps[1].StallMS)
		require.Equal(t, losses(resident), losses(got))
		require.True(t, bytes.Equal(resident.adapter, got.adapter), "the adapters differ")
		require.Greater(t, got.steps[1].PageIns, plan.Slots+paging.StateSlots)
	}
}
