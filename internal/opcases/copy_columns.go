package opcases

import (
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/reference"
)

var _ = register(copyColumns)

func copyColumns() (cases []Case) {
	for _, s := range [][4]int{{1, 8, 4, 4}, {37, 64, 32, 16}, {5, 256, 128, 128}} {
		T, C, first, n := s[0], s[1], s[2], s[3]
		for _, join := range []bool{false, true} {
			shape := fmt.Sprintf("T=%d C=%d first=%d n=%d join=%v", T, C, first, n, join)
			cases = append(cases, Case{Op: "copy_columns_forward", Shape: shape, Run: func(b *Bench) {
				whole, part := b.Values(T*C, 1), b.Values(T*n, 1)
				if join {
					parts := reference.SplitColumns(float64s(whole), first, n, C-first-n)
					parts[1] = float64s(part)
					x := b.Input("x", gpu.F32, T, n, part)
					y := b.Output("y", T, C, whole, reference.JoinColumns(parts, first, n, C-first-n), exact)
					b.Record(func() { kernels.JoinColumns(b.Rec, y, x, first) })
					return
				}
				x := b.Input("x", gpu.F32, T, C, whole)
				y := b.Output("y", T, n, nil, reference.SplitColumns(float64s(whole), first, n, C-first-n)[1], exact)
				b.Record(func() { kernels.SplitColumns(b.Rec, y, x, first) })
			}})
		}
	}
	return cases
}
