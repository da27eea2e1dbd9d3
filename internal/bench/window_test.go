//go:build !js

package bench

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/settings"
)

// A step of one layer of Gemma 3 costs by its window: attention's kernels take on the pairs that it leaves, the others
// as much as without. QLORA_TEST_LONG=1: 16,384 tokens of the 1B's layer, of whose 4 heads there is one and whose
// vocabulary is small, and their times.
func TestSlidingLayer(t *testing.T) {
	long := os.Getenv("QLORA_TEST_LONG") == "1"
	shape, _ := pretrained.Shape("gemma-3-1b")
	shape = shape.WithLayers(1)
	layer := shape.Layers[0]
	require.Equal(t, 512, layer.Window)
	tokens := 16384
	shape.Vocab, layer.Heads = 1024, 1
	dev, err := gpu.Open(t.Context(), gpu.Options{})
	require.NoError(t, err)
	defer dev.Release()
	if !long {
		shape.Hidden, layer.MLP, layer.HeadDim, layer.RoPE, layer.Window, tokens = 64, 64, 32, nil, 64, 600
		for _, op := range kernels.Operations(kernels.OfAttention) { // uniform arrays of so narrow heads hold all tokens
			dev.Variants.Force(op, "tile_8x8")
		}
	}
	step := func(tokens, window int) *SyntheticResult {
		c := settings.Default[settings.Train]()
		c.Autotune, c.GradientCheckpointing = "off", settings.CheckpointOff
		c.MaxSeqLength, c.BatchSize, c.GradientAccumulationSteps, c.MaxSteps = tokens, 1, 1, 1
		own := layer
		own.Window = window
		shape.Layers = append(shape.Layers[:0:0], own)
		r, err := Synthetic{
			Model: pretrained.Random("gemma-3-1b", shape), Settings: c, Steps: 1, Cache: host.MeasurementsIn(""),
			CPU: host.CPUSeconds, Profile: !long,
		}.Run(t.Context(), dev, func(events.Event) {})
		require.NoError(t, err)
		t.Logf("%d tokens, window %d: %.4g TFLOP, %.1f s, %.1f CPU seconds", tokens, window, float64(r.Flops)/1e12, r.Steps[0].Seconds, r.CPU[0])
		return r
	}
	if long {
		step(200, layer.Window) // compiles
	}
	sliding, full := step(tokens, layer.Window), step(tokens, 0)
	ratio := float64(sliding.Flops) / float64(full.Flops)
	t.Logf("sliding : full = %.3f of the flops, %.3f of the time, %.3f of the CPU time", ratio,
		sliding.Steps[0].Seconds/full.Steps[0].Seconds, sliding.CPU[0]/full.CPU[0])
	require.Less(t, ratio, 0.9)
	if long {
		return
	}
	costs := func(r *SyntheticResult) (attention, others int64) {
		for _, k := range r.Profile.Kernels {
			if strings.HasPrefix(k.Kernel, "attention_") && !strings.HasPrefix(k.Kernel, "attention_backward_delta") {
				attention += k.Cost
			} else {
				others += k.Cost
			}
		}
		return attention, others
	}
	pairs := func(window int) float64 { return float64(window*(window+1)/2 + (tokens-window)*window) }
	slidingPairs, slidingOthers := costs(sliding)
	fullPairs, fullOthers := costs(full)
	require.InEpsilon(t, pairs(layer.Window)/pairs(tokens), float64(slidingPairs)/float64(fullPairs), 1e-6)
	require.Equal(t, fullOthers, slidingOthers)
}
