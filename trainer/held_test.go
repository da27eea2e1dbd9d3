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
)

// A run over a folder that holds NF4 takes the steps of one over the model that it was made of, which is quantized to
// the same bytes on loading: whole, cut and gone on, and with little device memory. No cache knows of it.
func TestARunOverAFolderIn4BitsIsThatOverItsOriginal(t *testing.T) {
	original, model, data, dir := demotest.Model(t, 2, nil), demotest.Model(t, 2, nil), demotest.Rows(t, 12), t.TempDir()
	demotest.Quantize(t, model, 64, true)
	run := func(model string) Config {
		c := small(t, model, data)
		c.CacheDir, c.LoraDropout = dir, 0.1
		return c
	}
	want := train(t, run(original))
	cached, err := filepath.Glob(filepath.Join(dir, "nf4", "*.nf4"))
	require.NoError(t, err)
	require.Len(t, cached, 1)

	least := int64(0)
	whole := run(model)
	got, err := tryTrain(t, t.Context(), whole, func(e Event) {
		if memory, ok := e.(events.Memory); ok {
			least = memory.Plan.Minimum
		}
	})
	require.NoError(t, err, got.said)
	require.Equal(t, losses(want), losses(got))
	require.True(t, bytes.Equal(want.adapter, adapterOf(t, whole)))
	require.Contains(t, got.said, "NF4 blocks of 64 with double quantization as the model's files hold it")
	require.NotContains(t, got.said, "cache")
	card, err := os.ReadFile(filepath.Join(whole.OutputDir, "README.md"))
	require.NoError(t, err)
	require.Contains(t, string(card), "in NF4 blocks of 64 with double quantization as the model's files hold it, trained with")

	paged := run(model)
	paged.VRAMBudget = fmt.Sprintf("%dB", least)
	streamed := train(t, paged)
	require.Contains(t, streamed.said, "2 of 2 streamed")
	require.Equal(t, losses(want), losses(streamed))
	require.True(t, bytes.Equal(want.adapter, streamed.adapter))

	c := run(model)
	ctx, cancel := context.WithCancel(t.Context())
	cut, err := tryTrain(t, ctx, c, func(e Event) {
		if step, ok := e.(events.Step); ok && step.Step == 2 {
			cancel()
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	c.ResumeFromCheckpoint, c.Model = "auto", original
	_, err = tryTrain(t, t.Context(), c, nil)
	require.ErrorContains(t, err, "the checkpoint belongs to another run: its model is")
	c.Model = model
	rest := train(t, c)
	require.Equal(t, losses(want), append(losses(cut), losses(rest)...))
	require.True(t, bytes.Equal(want.adapter, rest.adapter))

	evaluate := func(model string) float64 {
		o := evaluation(model, whole.OutputDir, data)
		o.CacheDir = dir
		stats, err := answer.Evaluate(t.Context(), o, func(Event) {})
		require.NoError(t, err)
		return stats.Loss
	}
	require.Equal(t, evaluate(original), evaluate(model))
	now, err := filepath.Glob(filepath.Join(dir, "nf4", "*.nf4"))
	require.NoError(t, err)
	require.Equal(t, cached, now)
}

// Blocks of another size, absmax in float32 and linears that are not quantized need no setting; one that contradicts
// the files is refused.
func TestSettingsOverAFolderIn4Bits(t *testing.T) {
	model, data := demotest.Model(t, 2, nil), demotest.Rows(t, 8)
	demotest.Quantize(t, model, 128, false, "model.layers.1.mlp.up_proj")
	c := small(t, model, data)
	c.MaxSteps = 2
	r := train(t, c)
	require.Contains(t, r.said,
		"in 2 layers, NF4 blocks of 128, absmax in float32 as the model's files hold it, 1 of 14 linears: weights in bfloat16")
	named := small(t, model, data)
	named.MaxSteps, named.BlockSize = 2, 128
	require.Equal(t, losses(r), losses(train(t, named)))
	for _, change := range []struct {
		to      settings.Quantization
		message string
	}{
		{
			settings.Quantization{Quantize: "nf4", BlockSize: 32},
			"settings: block_size is 32, allowed: 128: the model's files hold weights in 4 bits, which are taken as they are",
		},
		{
			settings.Quantization{Quantize: "none", BlockSize: 64}, "settings: quantization is none, allowed: nf4: the model's files hold " +
				"weights in 4 bits, which are taken as they are (for 16 bits take the original model)",
		},
	} {
		c := small(t, model, data)
		c.Quantization = change.to
		_, err := tryTrain(t, t.Context(), c, nil)
		require.EqualError(t, err, change.message)
		o := evaluation(model, "", data)
		o.Quantization = change.to
		_, err = answer.Evaluate(t.Context(), o, func(Event) {})
		require.EqualError(t, err, change.message)
	}
}
