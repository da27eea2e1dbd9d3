//go:build !js

package trainer

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo/demotest"
)

func TestBenchTrain(t *testing.T) {
	o := BenchOptions{Model: demotest.Model(t, 1, nil), Tokens: 24, Steps: 3, LoraR: 4, BlockSize: 64, GradientCheckpointing: CheckpointOff, ActivationDType: ActivationsF32, Autotune: "off"}
	r, err := BenchTrain(t.Context(), o, func(Event) {})
	require.NoError(t, err)
	require.Positive(t, r.SecondsPerStep)
	require.InEpsilon(t, 24/r.SecondsPerStep, r.TokensPerSecond, 1e-9)
	dispatches := map[string]int{}
	for i, k := range r.Kernels {
		require.Positive(t, k.Time, k.Kernel)
		if i > 0 {
			require.LessOrEqual(t, k.Time, r.Kernels[i-1].Time)
		}
		dispatches[k.Kernel] = k.Dispatches
	}
	require.Equal(t, 1, dispatches["adamw_step"])
	require.Equal(t, 1, dispatches["attention_backward_delta"])
	// Twice the frozen weights forward and backward, LoRA, attention and the head: four flops a weight at least.
	require.Greater(t, r.GFLOPPerToken*1e9, 4.0*(4*128*128-2*128*64+3*128*320))
	o.Tokens = 1
	_, err = BenchTrain(t.Context(), o, func(Event) {})
	require.ErrorContains(t, err, "max_seq_length is 1, allowed: between 2 and the model's 256")
}

func TestBenchKernels(t *testing.T) {
	var cells []KernelCell
	r, err := BenchKernels(t.Context(), BenchKernelsOptions{Filter: "SmolLM2-135M matmul_nf4_.*ward T128 N192", Limit: time.Millisecond}, func(_ KernelBench, c KernelCell) { cells = append(cells, c) })
	require.NoError(t, err)
	require.Positive(t, r.Ceilings.GFLOPS)
	require.Positive(t, r.Ceilings.CopyVec4)
	require.Equal(t, r.Cells, cells)
	require.Len(t, cells, 2)
	for _, c := range cells {
		require.InEpsilon(t, 2*128*192*576/c.Seconds/1e9, c.GFLOPS, 1e-9)
		require.InEpsilon(t, c.GFLOPS/r.Ceilings.GFLOPS, c.Share, 1e-9)
	}
	_, err = BenchKernels(t.Context(), BenchKernelsOptions{Filter: "("}, nil)
	require.ErrorContains(t, err, "filter is (, allowed: a regular expression")
}
