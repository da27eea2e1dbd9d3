//go:build !js

package trainer

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/answer"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/paging"
)

// unquantized is a run of six steps over a base in bfloat16.
func unquantized(t *testing.T, model, data string) Config {
	c := small(t, model, data)
	c.Quantize, c.MaxSteps, c.LoraDropout = settings.Unquantized, 6, 0.1
	return c
}

// Over a base that is not quantized a run learns, says so, and is nothing that a cache of quantized models knows.
func TestAnUnquantizedBaseLearns(t *testing.T) {
	model, data, dir := demotest.Model(t, 2, nil), demotest.Rows(t, 12), t.TempDir()
	run := func(quantization string) (Config, result) {
		c := small(t, model, data)
		c.Quantize, c.CacheDir = quantization, dir
		c.MaxSteps, c.LearningRate, c.LRSchedulerType = 12, 1e-2, settings.Constant
		return c, train(t, c)
	}
	_, other := run(settings.QuantizedNF4)
	cached, err := filepath.Glob(filepath.Join(dir, "nf4", "*.nf4"))
	require.NoError(t, err)
	require.Len(t, cached, 1)

	c, r := run(settings.Unquantized)
	require.Less(t, r.steps[11].Loss, 0.7*r.steps[0].Loss)
	require.Contains(t, r.said, "in 2 layers, weights in bfloat16, 1.0 MiB")
	require.NotContains(t, r.said, "cache")
	require.NotEqual(t, losses(other), losses(r), "it is another base")
	require.InDelta(t, other.steps[0].Loss, r.steps[0].Loss, 0.2, "of the same model")
	now, err := filepath.Glob(filepath.Join(dir, "nf4", "*.nf4"))
	require.NoError(t, err)
	require.Equal(t, cached, now)
	card, err := os.ReadFile(filepath.Join(c.OutputDir, "README.md"))
	require.NoError(t, err)
	require.Contains(t, string(card), "over model in bfloat16, trained with")
	require.NotContains(t, string(card), "qlora\n")

	// The adapter means something over the base that it was trained on.
	eval := func(adapter, quantization string) float64 {
		o := evaluation(model, adapter, data)
		o.CacheDir, o.Quantize = dir, quantization
		stats, err := answer.Evaluate(t.Context(), o, func(Event) {})
		require.NoError(t, err)
		return stats.Loss
	}
	own := eval(c.OutputDir, settings.Unquantized)
	require.Less(t, own, 0.7*eval("", settings.Unquantized))
	require.NotEqual(t, own, eval(c.OutputDir, settings.QuantizedNF4))
}

// A run over an unquantized base goes on after a cut to the same bytes, and over no other base.
func TestAnUnquantizedRunGoesOn(t *testing.T) {
	model, data := demotest.Model(t, 1, nil), demotest.Rows(t, 12)
	whole, c := unquantized(t, model, data), unquantized(t, model, data)
	want := train(t, whole)
	ctx, cancel := context.WithCancel(t.Context())
	cut, err := tryTrain(t, ctx, c, func(e Event) {
		if step, ok := e.(events.Step); ok && step.Step == 3 {
			cancel()
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	c.ResumeFromCheckpoint = "auto"
	c.Quantize = settings.QuantizedNF4
	_, err = tryTrain(t, t.Context(), c, nil)
	require.ErrorContains(t, err, "quantization was none, is nf4")
	c.Quantize = settings.Unquantized
	got := train(t, c)
	require.Equal(t, losses(want), append(losses(cut), losses(got)...))
	require.True(t, bytes.Equal(want.adapter, got.adapter))
}

// However little device memory there is, an unquantized base gives the same bytes, and takes what was planned.
func TestPagingAnUnquantizedBaseChangesNothing(t *testing.T) {
	model, data := demotest.Model(t, 5, nil), demotest.Rows(t, 8)
	run := func(budget string) (result, *paging.Plan) {
		c := unquantized(t, model, data)
		c.MaxSteps, c.VRAMBudget = 2, budget
		var plan *paging.Plan
		r, err := tryTrain(t, t.Context(), c, func(e Event) {
			if memory, ok := e.(events.Memory); ok {
				plan = memory.Plan
			}
		})
		require.NoError(t, err, r.said)
		r.adapter = adapterOf(t, c)
		for _, s := range r.steps {
			require.Equal(t, plan.Peak, s.PeakDeviceBytes, plan.String())
		}
		return r, plan
	}
	resident, all := run("")
	require.Zero(t, resident.steps[1].PageIns)
	for _, budget := range []int64{all.Minimum, (all.Minimum + all.Peak) / 2} {
		paged, plan := run(fmt.Sprintf("%dB", budget))
		require.LessOrEqual(t, plan.Peak, budget)
		require.Positive(t, paged.steps[1].PageIns)
		require.Equal(t, losses(resident), losses(paged))
		require.True(t, bytes.Equal(resident.adapter, paged.adapter))
	}
}
