package opcases

import (
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/reference"
)

var _ = register(biasAdd)

// Whole rows, and some columns of them; more vec4 than a workgroup has.
func biasAdd() (cases []Case) {
	for _, s := range [][4]int{{1, 4, 0, 4}, {3, 68, 8, 20}, {37, 576, 256, 320}} {
		T, N, first, rows := s[0], s[1], s[2], s[3]
		shape := fmt.Sprintf("T=%d N=%d columns %d to %d", T, N, first, first+rows)
		cases = append(cases, Case{Op: "bias_add_forward", Shape: shape, Run: func(b *Bench) {
			before, bias := b.Values(T*N, 1), b.Values(rows, 0.5)
			const at = 64 // words into a region
			region := b.Input("region", gpu.F32, 1, at+rows, append(b.Values(at, 1), bias...))
			want := float64s(before)
			reference.BiasAdd(want, float64s(bias), T, N, first)
			// One rounding: a relative error of 2^-24, NMSE 2^-48.
			y := b.Output("y", T, N, before, want, 4e-15)
			b.Record(func() {
				kernels.BiasAddForward(b.Rec, y, kernels.Vector{Range: region.Single(), Offset: at}, first, rows)
			})
		}})
	}
	return cases
}
