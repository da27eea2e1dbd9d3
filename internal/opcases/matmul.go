package opcases

import (
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/reference"
)

var _ = register(matmul)

// Adapters (N or K is the rank, padded to 4), the head's bfloat16 table, and sizes around every tile.
var matmulShapes = []struct {
	T, N, K int
	dtype   gpu.DType
}{
	{1, 4, 4, gpu.F32},
	{5, 16, 576, gpu.F32},
	{17, 576, 16, gpu.F32},
	{64, 8, 320, gpu.F32},
	{65, 36, 68, gpu.F32},
	{161, 12, 520, gpu.F32}, // more tokens and columns than a dispatch of the uniform variants takes
	{130, 516, 20, gpu.F32},
	{9, 900, 20, gpu.F32}, // more rows than lie in a window of 64 KiB
	{33, 260, 132, gpu.BF16},
	{1, 384, 128, gpu.BF16},
	{1, 1156, 576, gpu.BF16}, // more rows than the windows of a dispatch of single tokens hold
	{2, 92, 24, gpu.BF16},
	{3, 20, 44, gpu.F32},
	{4, 36, 1032, gpu.BF16},
	{104, 1000, 64, gpu.BF16},
	{600, 8, 72, gpu.F32},   // more tokens than a sum of the tiled gradient
	{2, 49152, 8, gpu.BF16}, // a vocabulary: a sum over its rows, see backwardRows
}

func matmul() (cases []Case) {
	for _, s := range matmulShapes {
		T, N, K := s.T, s.N, s.K
		shape := fmt.Sprintf("T=%d N=%d K=%d %v", T, N, K, []string{"f32", "bf16"}[s.dtype])
		weights := func(b *Bench) (*gpu.Tensor, []float64) {
			w := b.Values(N*K, 0.1)
			if s.dtype == gpu.BF16 {
				w = bf16(w)
			}
			return b.Input("w", s.dtype, N, K, w), float64s(w)
		}
		const alpha = 0.75
		cases = append(cases,
			Case{Op: "matmul_forward", Shape: shape, Run: func(b *Bench) {
				w, dense := weights(b)
				x, before := b.Values(T*K, 1), b.Values(T*N, 1)
				in := b.Input("x", gpu.F32, T, K, x)
				want := scaled(reference.MatmulForward(float64s(x), dense, nil, T, N, K), alpha, nil)
				y := b.Output("y", T, N, nil, want, b.Tolerance)
				sum := b.Output("y +=", T, N, before, scaled(want, 1, before), b.Tolerance)
				b.Record(func() {
					kernels.MatmulForward(b.Rec, y, in, w, alpha, false)
					kernels.MatmulForward(b.Rec, sum, in, w, alpha, true)
				})
			}},
			Case{Op: "matmul_backward", Shape: shape, Run: func(b *Bench) {
				w, dense := weights(b)
				dy, before := b.Values(T*N, 1), b.Values(T*K, 1)
				in := b.Input("dy", gpu.F32, T, N, dy)
				want := scaled(reference.MatmulBackwardInput(float64s(dy), dense, T, N, K), alpha, nil)
				dx := b.Output("dx", T, K, nil, want, b.Tolerance)
				sum := b.Output("dx +=", T, K, before, scaled(want, 1, before), b.Tolerance)
				b.Record(func() {
					kernels.MatmulBackward(b.Rec, dx, in, w, alpha, false)
					kernels.MatmulBackward(b.Rec, sum, in, w, alpha, true)
				})
			}})
		if s.dtype == gpu.BF16 {
			continue // frozen: no gradient
		}
		cases = append(cases, Case{Op: "matmul_gradient", Shape: shape, Run: func(b *Bench) {
			dy, x, before := b.Values(T*N, 1), b.Values(T*K, 1), b.Values(N*K, 1)
			in, act := b.Input("dy", gpu.F32, T, N, dy), b.Input("x", gpu.F32, T, K, x)
			want := scaled(reference.MatmulBackwardWeight(float64s(dy), float64s(x), T, N, K), alpha, before)
			dw := b.Output("dw", N, K, before, want, b.Tolerance)
			b.Record(func() { kernels.MatmulGradient(b.Rec, dw, in, act, alpha) })
		}})
	}
	return cases
}

// scaled is alpha*x (+ before).
func scaled(x []float64, alpha float64, before []float32) []float64 {
	out := make([]float64, len(x))
	for i, v := range x {
		out[i] = alpha * v
		if before != nil {
			out[i] += float64(before[i])
		}
	}
	return out
}
