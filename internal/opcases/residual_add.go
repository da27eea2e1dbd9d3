package opcases

import (
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
)

var _ = register(residualAdd)

func residualAdd() (cases []Case) {
	for _, s := range []struct {
		T, C  int
		scale float32
	}{{1, 4, 1}, {3, 64, 1}, {37, 576, 1}, {5, 64, 0.22}} {
		T, C := s.T, s.C
		cases = append(cases, Case{Op: "residual_add_forward", Shape: fmt.Sprintf("T=%d C=%d scale=%v", T, C, s.scale), Run: func(b *Bench) {
			a, r := b.Values(T*C, 1), b.Values(T*C, 1)
			want := make([]float64, T*C)
			for i := range want {
				want[i] = float64(a[i]) + float64(s.scale)*float64(r[i])
			}
			x, z := b.Input("a", gpu.F32, T, C, a), b.Input("b", gpu.F32, T, C, r)
			// One rounding or two, of 6e-8 each.
			y := b.Output("y", T, C, nil, want, 1e-14)
			b.Record(func() { kernels.ResidualAddForward(b.Rec, y, x, z, s.scale) })
		}})
	}
	return cases
}
