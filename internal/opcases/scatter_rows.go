package opcases

import (
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/reference"
)

var _ = register(scatterRows)

func scatterRows() (cases []Case) {
	for _, s := range rowShapes {
		S, T, C := s[0], s[1], s[2]
		cases = append(cases, Case{Op: "scatter_rows", Shape: fmt.Sprintf("S=%d T=%d C=%d", S, T, C), Run: func(b *Bench) {
			x, rows := b.Values(S*C, 1), b.distinct(S, T)
			inverse := make([]uint32, T)
			for s, t := range rows {
				inverse[t] = uint32(s + 1)
			}
			xs, i := b.Input("x", gpu.F32, S, C, x), b.InputU32("inverse", inverse)
			// A copy: exact.
			y := b.Output("y", T, C, nil, reference.ScatterRows(float64s(x), C, rows, T), 1e-14)
			b.Record(func() { kernels.ScatterRows(b.Rec, y, xs, i) })
		}})
	}
	return cases
}
