//go:build !js

package bench

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/testfiles"
	"qlora-wgpu/paging"
)

// Every combination of the three kinds of paging gives the same bytes, with whole layers in a page and with layers cut
// into several.
func TestEveryCombination(t *testing.T) {
	everyCombination(t, demotest.Model(t, 5, nil), 40, 40, gpu.Limits{MaxBindingBytes: 64 << 10})
}

// The same on a real model. A binding that cuts its layers holds the logits of no more than 8 tokens.
func TestEveryCombinationSmolLM2(t *testing.T) {
	if os.Getenv("QLORA_TEST_LONG") != "1" {
		t.Skip("QLORA_TEST_LONG=1 trains SmolLM2-135M with everything paged")
	}
	everyCombination(t, testfiles.Models(t, "SmolLM2-135M-Instruct.Q4_1.gguf"), 24, 8, gpu.Limits{MaxBindingBytes: 8 * 49152 * 4})
}

// everyCombination trains the model on so many tokens, resident and paged in all ways, and on cutTokens with bindings
// that are so small that a layer takes several pages.
func everyCombination(t *testing.T, path string, tokens, cutTokens int, small gpu.Limits) {
	source, err := pretrained.Open(path)
	require.NoError(t, err)
	defer source.Close()
	open := func(limits gpu.Limits) *gpu.Device {
		dev, err := gpu.Open(context.Background(), gpu.Options{Limits: limits})
		require.NoError(t, err)
		t.Cleanup(dev.Release)
		return dev
	}
	run := func(dev *gpu.Device, tokens int, budget string, d *paging.Decisions, staged bool) *SyntheticResult {
		c := settings.Default[settings.Train]()
		c.Autotune, c.VRAMBudget = "off", budget
		c.MaxSeqLength, c.BatchSize, c.GradientAccumulationSteps, c.MaxSteps = tokens, 1, 2, 2
		r, err := Synthetic{
			Model: source, Name: path, Settings: c, Steps: 2, Decisions: d, Staged: staged, Cache: host.MeasurementsIn(""),
		}.Run(t.Context(), dev, func(events.Event) {})
		require.NoError(t, err)
		return r
	}
	same := func(resident, got *SyntheticResult) {
		p, step := got.Plan, got.Steps[1]
		t.Logf("%+v, weights mapped %v, state mapped %v: %d page-ins, %d page-outs, %d slots of weights, peak %s",
			p.Decisions, p.Mapped, p.MappedState, step.PageIns, step.PageOuts, p.Slots, paging.Size(p.Peak))
		require.Equal(t, resident.Adapter, got.Adapter, "%+v", p.Decisions)
		for i := range got.Steps {
			require.Equal(t, resident.Steps[i].Loss, got.Steps[i].Loss)
			require.Equal(t, p.Peak, got.Steps[i].PeakDeviceBytes, "%+v\n%s", p.Decisions, p.String())
		}
		require.Greater(t, step.PageIns, max(p.Slots, 2*paging.StateSlots), "%+v", p.Decisions)
	}
	usual, cut := open(gpu.Limits{}), open(small)
	for _, dev := range []*gpu.Device{usual, cut} {
		n := tokens
		if dev == cut {
			n = cutTokens
		}
		resident := run(usual, n, "", &paging.Decisions{}, false)
		require.Zero(t, resident.Steps[1].PageIns)
		if dev == usual {
			require.LessOrEqual(t, float64(resident.Plan.Minimum), 0.4*float64(resident.Plan.Peak))
			least := run(dev, n, fmt.Sprintf("%dB", resident.Plan.Minimum), nil, false)
			require.Equal(t, resident.Plan.Minimum, least.Plan.Peak)
			same(resident, least)
		}
		for i := 1; i < 8; i++ {
			var d paging.Decisions
			d.PagedState = i&1 != 0
			if i&2 != 0 {
				d.Layers, d.StreamedHead, d.HostEmbedding = len(source.Spec.Layers), 1000, true
			}
			if i&4 != 0 {
				d.Activations = paging.Offload
			}
			if dev == cut && i != 2 && i != 7 {
				continue
			}
			if i == 2 || i == 3 {
				d.Activations = []paging.Activations{paging.Selective, paging.Keep}[i-2]
			}
			for _, staged := range []bool{false, true} {
				if staged && !(dev.Mappable && (d.Layers > 0 || d.Activations != paging.Offload)) {
					continue // no slot is mapped in any case
				}
				got := run(dev, n, "", &d, staged)
				same(resident, got)
				mapped := dev.Mappable && !staged
				require.Equal(t, mapped && d.Layers > 0, got.Plan.Mapped)
				require.Equal(t, mapped && d.PagedState && d.Activations != paging.Offload, got.Plan.MappedState)
				require.Equal(t, !mapped || d.Activations == paging.Offload, got.Plan.Staging > 0)
			}
		}
	}
}
