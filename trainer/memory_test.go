//go:build !js

package trainer

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/pretrained"
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
			if e.Plan != nil {
				plan = e.Plan
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

// Every combination of the three kinds of paging gives the same bytes, with whole layers in a page and with layers cut into several.
func TestEveryCombination(t *testing.T) {
	folder := demotest.Model(t, 5, nil)
	source, err := pretrained.Open(folder)
	require.NoError(t, err)
	defer source.Close()
	open := func(limits gpu.Limits) *gpu.Device {
		dev, err := gpu.Open(context.Background(), gpu.Options{Limits: limits})
		require.NoError(t, err)
		t.Cleanup(dev.Release)
		return dev
	}
	run := func(dev *gpu.Device, d paging.Decisions) *SyntheticResult {
		c := Defaults()
		c.Autotune = "off"
		r, err := Synthetic(t.Context(), dev, SyntheticOptions{Model: source, Name: "demo", Tokens: 40, MicroBatches: 2, Steps: 2, Config: c, Decisions: &d}, func(Event) {})
		require.NoError(t, err)
		return r
	}
	usual, cut := open(gpu.Limits{}), open(gpu.Limits{MaxBindingBytes: 64 << 10})
	resident := run(usual, paging.Decisions{})
	require.Zero(t, resident.Steps[1].PageIns)
	for _, dev := range []*gpu.Device{usual, cut} {
		for i := 1; i < 8; i++ {
			var d paging.Decisions
			d.PagedState = i&1 != 0
			if i&2 != 0 {
				d.Layers, d.StreamedHead, d.HostEmbedding = 5, 100, true
			}
			if i&4 != 0 {
				d.Activations = paging.Offload
			}
			if dev == cut && i != 2 && i != 7 {
				continue
			}
			got := run(dev, d)
			require.Equal(t, resident.Adapter, got.Adapter, "%+v", d)
			for step := range got.Steps {
				require.Equal(t, resident.Steps[step].Loss, got.Steps[step].Loss)
				require.Equal(t, got.Plan.Peak, got.Steps[step].PeakDeviceBytes, "%+v\n%s\narena", d, describePlan(got.Plan))
			}
			require.Greater(t, got.Steps[1].PageIns, max(got.Plan.Slots, 2*paging.StateSlots), "%+v", d)
		}
	}
}
