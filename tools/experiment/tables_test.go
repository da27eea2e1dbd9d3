//go:build !js

package main

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// What was written is read again, a row a line.
func TestResults(t *testing.T) {
	name := t.TempDir() + "/results.json"
	empty, err := readResults(name)
	require.NoError(t, err)
	require.Zero(t, empty)
	want := results{
		Errors:   []errorRow{{Weights: "w", Type: "NF4", Block: 64, Double: true, RMS: 0.25}},
		Losses:   []lossRow{{Model: "m", Type: sixteenBit, Loss: 2}, {Model: "m", Type: "NF4", Block: 64, Double: true, Loss: 2.5, Above: 0.5}},
		Training: []trainRow{{Model: "m", Base: sixteenBit, Seed: 3, Steps: 4, Before: 5, After: 1.0001}},
	}
	require.NoError(t, want.write(name))
	got, err := readResults(name)
	require.NoError(t, err)
	require.Equal(t, want, got)
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	require.Equal(t, 4+3*2+2, strings.Count(string(data), "\n"))
}

// Of runs with the same seed the difference counts: two bases whose seeds scatter alike differ by exactly as much.
func TestTrainTable(t *testing.T) {
	r := results{Training: []trainRow{
		{Model: "m", Base: sixteenBit, Steps: 5, Before: 3, After: 1}, {Model: "m", Base: sixteenBit, Seed: 1, Steps: 5, Before: 3, After: 2},
		{Model: "m", Base: "NF4", Steps: 5, Before: 4, After: 1.5}, {Model: "m", Base: "NF4", Seed: 1, Steps: 5, Before: 4, After: 2.5},
	}}
	require.Equal(t, []string{
		"| m | 16-bit | 2 × 5 | 3.0000 | 1.5000 ± 0.7071 | 0 |", "| m | NF4 | 2 × 5 | 4.0000 | 2.0000 ± 0.7071 | +0.5000 ± 0.0000 |",
	}, r.trainTable()[2:])
}

// What is measured again takes the place of what was measured of the same model, and only of that.
func TestReplacedResults(t *testing.T) {
	old := []lossRow{{Model: "b", Loss: 1}, {Model: "b", Loss: 2}, {Model: "c", Loss: 3}}
	require.Equal(t, []lossRow{{Model: "b", Loss: 7}, {Model: "c", Loss: 3}}, replaced(old, []lossRow{{Model: "b", Loss: 7}}))
	require.Equal(t, []lossRow{{Model: "a", Loss: 9}, old[0], old[1], old[2]}, replaced(old, []lossRow{{Model: "a", Loss: 9}}))
	require.Equal(t, old, replaced(old, nil))
}
