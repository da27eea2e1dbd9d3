//go:build !js

package main

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/pretrained"
)

func TestMain(m *testing.M) {
	demotest.OwnCache()
	m.Run()
}

// A model whose linears went through NF4 on the host gives in 16 bits the losses of the one that the engine keeps in
// packed NF4, but for the rounding to bfloat16: what the harness measures for other types is what kernels for these
// would give. Packed again it gives the same bits. Through a coarser format it gives others.
func TestThroughNF4IsPackedNF4(t *testing.T) {
	m, err := pretrained.Open(demotest.Model(t, 5, nil))
	require.NoError(t, err)
	defer func() { require.NoError(t, m.Close()) }()
	dev, err := engine.OpenDevice(t.Context(), engine.Options{}, quiet)
	require.NoError(t, err)
	defer dev.Release()
	data, err := read(t.Context(), "../../internal/demo/heldout.jsonl", ":4")
	require.NoError(t, err)
	s := subject{"demo", "heldout", m, data, false, 0}
	losses := func(m *pretrained.Model, block int) float64 {
		rows, err := s.evaluate(t.Context(), dev, m, block)
		require.NoError(t, err)
		require.Len(t, rows, 4)
		loss, tokens := mean(rows)
		require.Greater(t, tokens, int64(40))
		return loss
	}
	plain := losses(m, 0)
	for _, block := range []int{64, 512} {
		f := format{typeNF4, block, true}
		same, err := through(m, f)
		require.NoError(t, err)
		packed, got := losses(m, block), losses(same, 0)
		t.Logf("%v: packed %.5f, through it %.5f, 16-bit %.5f", f, packed, got, plain)
		require.InDelta(t, packed, got, 0.25*math.Abs(packed-plain), "%v", f)
		// what the engine makes of values that NF4 can hold are these values: not a bit may differ then
		again, err := through(m, format{typeNF4, block, false})
		require.NoError(t, err)
		require.Equal(t, packed, losses(again, block), "%v", f)
	}
	coarse, err := through(m, format{typeE3M0, 512, true})
	require.NoError(t, err)
	require.Greater(t, math.Abs(losses(coarse, 0)-plain), 0.01)
}

// The difference to the base counts tokens, not rows, and its standard error is zero where all rows differ by as much.
func TestAbove(t *testing.T) {
	base := []events.Eval{{Loss: 1, TargetTokens: 10}, {Loss: 3, TargetTokens: 30}, {Loss: 2, TargetTokens: 20}}
	moved := []events.Eval{{Loss: 1.5, TargetTokens: 10}, {Loss: 3.5, TargetTokens: 30}, {Loss: 2.5, TargetTokens: 20}}
	difference, spread := above(moved, base)
	require.InDelta(t, 0.5, difference, 1e-12)
	require.InDelta(t, 0, spread, 1e-12)
	moved[1].Loss = 3
	difference, spread = above(moved, base)
	require.InDelta(t, 0.25, difference, 1e-12)
	// shares 1/6, 1/2, 1/3 of deviations 1/4, -1/4, 1/4; three rows
	require.InDelta(t, math.Sqrt((1.0/36+1.0/4+1.0/9)/16*3/2), spread, 1e-12)
	loss, tokens := mean(base)
	require.InDelta(t, 140.0/60, loss, 1e-12)
	require.EqualValues(t, 60, tokens)
}
