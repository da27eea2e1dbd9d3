package opcases

import (
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
)

var _ = register(residualAdd)

func residualAdd() (cases []Case) {
	for _, s := range [][2]int{{1, 4}, {3, 64}, {37, 576}} {
		T, C := s[0], s[1]
		cases = append(cases, Case{Op: "residual_add_forward", Shape: fmt.Sprintf("T=%d C=%d", T, C), Run: func(b *Bench) {
			a, r := b.Values(T*C, 1), b.Values(T*C, 1)
			want := make([]float64, T*C)
			for i := range want {
				want[i] = float64(a[i] + r[i])
			}
			x, z := b.Input("a", gpu.F32, T, C, a), b.Input("b", gpu.F32, T, C, r)
			// One rounding, the same as on the host: exact up to the 1e-14 that a flushed denormal may cost.
			y := b.Output("y", T, C, nil, want, 1e-14)
			b.Record(func() { kernels.ResidualAddForward(b.Rec, y, x, z) })
		}})
	}
	return cases
}
