package kernels

import (
	"math/rand/v2"
	"testing"

	testify "github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
)

// Parts that are summed side by side give the bytes of a workgroup that takes them all, so that no byte depends on how
// many tokens come together.
func TestPartsSideBySide(t *testing.T) {
	dev, err := gpu.Open(t.Context(), gpu.Options{})
	testify.NoError(t, err)
	defer dev.Release()
	rng := rand.New(rand.NewPCG(1, 2))
	tensor := func(rows, cols int) *gpu.Tensor {
		x, err := dev.NewTensor("x", gpu.F32, rows, cols)
		testify.NoError(t, err)
		values := make([]float32, rows*cols)
		for i := range values {
			values[i] = float32(rng.NormFloat64())
		}
		testify.NoError(t, x.Single().Buffer.Write(0, gpu.Float32Bytes(values)))
		return x
	}
	const tokens, rank, wide = 600, 16, 1100
	narrow, input, a := tensor(tokens, rank), tensor(tokens, wide), tensor(rank, wide)
	defer func(before int) { fillGroups = before }(fillGroups)
	for op, run := range map[string]struct {
		variant    string
		rows, cols int
		record     func(rec *gpu.Recorder, out *gpu.Tensor)
	}{
		"matmul_forward": {"tiled_64x16", tokens, rank, func(rec *gpu.Recorder, out *gpu.Tensor) {
			MatmulForward(rec, out, input, a, 0.5, true)
		}},
		"matmul_backward": {"tiled_64x64", rank, rank, func(rec *gpu.Recorder, out *gpu.Tensor) {
			MatmulBackward(rec, out, a.View(rank, tokens), narrow, 0.5, true)
		}},
		"matmul_gradient": {"tiled_16x64", rank, wide, func(rec *gpu.Recorder, out *gpu.Tensor) {
			MatmulGradient(rec, out, narrow, input, 0.5)
		}},
	} {
		var results [2][]float32
		var dispatches [2]int
		for i, fill := range []int{0, 512} {
			fillGroups = fill
			out := tensor(run.rows, run.cols)
			start := make([]float32, run.rows*run.cols)
			for j := range start {
				start[j] = float32(j % 7)
			}
			testify.NoError(t, out.Single().Buffer.Write(0, gpu.Float32Bytes(start)))
			dev.Variants.Force(op, run.variant)
			rec := dev.Record("test")
			run.record(rec, out)
			dispatches[i] = rec.Dispatches
			testify.NoError(t, rec.Submit())
			results[i], err = dev.ReadFloat32(t.Context(), out)
			testify.NoError(t, err)
			dev.Variants.Force(op, "")
		}
		testify.Equal(t, results[0], results[1], op)
		testify.Greater(t, dispatches[1], dispatches[0], "%s: nothing was cut", op)
	}
}

// A chunk without tokens records nothing, by tiles as by the kernels for few tokens that the rules give it.
func TestNoTokens(t *testing.T) {
	dev := gpu.NewDryDiscrete()
	for _, op := range []string{"matmul_forward", "matmul_backward"} {
		dev.Variants.Force(op, "tiled_64x16")
	}
	tensor := func(rows, cols int) *gpu.Tensor {
		x, err := dev.NewTensor("x", gpu.F32, rows, cols)
		testify.NoError(t, err)
		return x
	}
	wide, narrow := tensor(1, 1024).View(0, 1024), tensor(1, 16).View(0, 16)
	a, b := tensor(16, 1024), tensor(1024, 16)
	rec := dev.DryRecord("test")
	MatmulForward(rec, narrow, wide, a, 1, false)
	MatmulForward(rec, wide, narrow, b, 1, true)
	MatmulBackward(rec, narrow, wide, b, 1, false)
	MatmulBackward(rec, wide, narrow, a, 1, true)
	testify.Zero(t, rec.Dispatches)
}
