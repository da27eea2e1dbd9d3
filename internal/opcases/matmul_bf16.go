package opcases

import (
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/frozen"
	"qlora-wgpu/internal/reference"
)

var _ = register(matmulBF16)

// Frozen linears in 16 bits: layers of the 135M model, in parts that are cut at a multiple of 256 rows and at others,
// and few columns with few rows, for which LoRA's products have variants that do not read bfloat16.
var bf16Shapes = []linearShape{
	{T: 1, N: 192, K: 576, bias: true},
	{T: 33, N: 64, K: 128},
	{T: 40, N: 128, K: 64},
	{T: 65, N: 576, K: 192, bias: true, partBytes: 128 << 10},
	{T: 9, N: 152, K: 72, bias: true, partBytes: 12 << 10},
	{T: 37, N: 576, K: 1536},
}

func matmulBF16() (cases []Case) {
	for _, s := range bf16Shapes {
		shape := fmt.Sprintf("%v, frozen in bfloat16", s)
		weight := func(b *Bench) (w frozen.Linear, values, bias []float64) {
			rounded := bf16(b.Values(s.N*s.K, 0.05))
			w, bias = b.linear(frozen.BFloat16, s, rounded)
			return w, float64s(rounded), bias
		}
		product := func(op string, run func(b *Bench)) Case {
			return Case{Op: op, Shape: shape, Run: run}
		}
		cases = append(cases,
			product("matmul_forward", func(b *Bench) {
				w, values, bias := weight(b)
				x := b.Values(s.T*s.K, 1)
				in := b.Input("x", gpu.F32, s.T, s.K, x)
				want := reference.MatmulForward(float64s(x), values, bias, s.T, s.N, s.K)
				y := b.Output("y", s.T, s.N, nil, want, b.Tolerance)
				b.Record(func() { w.Forward(b.Rec, y, in) })
			}),
			product("matmul_backward", func(b *Bench) {
				w, values, _ := weight(b)
				dy, before := b.Values(s.T*s.N, 1), b.Values(s.T*s.K, 1)
				in := b.Input("dy", gpu.F32, s.T, s.N, dy)
				want := reference.MatmulBackwardInput(float64s(dy), values, s.T, s.N, s.K)
				dx := b.Output("dx", s.T, s.K, nil, want, b.Tolerance)
				sum := b.Output("dx +=", s.T, s.K, before, scaled(want, 1, before), b.Tolerance)
				b.Record(func() {
					w.Backward(b.Rec, dx, in, false)
					w.Backward(b.Rec, sum, in, true)
				})
			}))
	}
	return cases
}
