package opcases

import (
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/reference"
)

var _ = register(scale)

func scale() (cases []Case) {
	for _, s := range [][2]int{{1, 4}, {3, 64}, {37, 576}} {
		T, C := s[0], s[1]
		cases = append(cases, Case{Op: "scale_forward", Shape: fmt.Sprintf("T=%d C=%d", T, C), Run: func(b *Bench) {
			const factor = 0.375 // whose products with float32 are rounded once
			values := b.Values(T*C, 1)
			x := b.Input("x", gpu.F32, T, C, values)
			y := b.Output("y", T, C, nil, reference.Scale(float64s(values), factor), 1e-14)
			b.Record(func() { kernels.ScaleForward(b.Rec, y, x, factor) })
		}})
	}
	return cases
}
