package opcases

import (
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
)

var _ = register(sumParts)

func sumParts() (cases []Case) {
	for _, s := range []struct {
		T, C, parts int
		accumulate  bool
	}{{1, 4, 1, false}, {3, 68, 2, true}, {37, 16, 16, false}, {37, 576, 5, true}} {
		n := s.T * s.C
		shape := fmt.Sprintf("T=%d C=%d parts=%d accumulate=%v", s.T, s.C, s.parts, s.accumulate)
		cases = append(cases, Case{Op: "sum_parts", Shape: shape, Run: func(b *Bench) {
			parts := b.Values(s.parts*n, 1)
			var initial []float32
			want := make([]float64, n)
			if s.accumulate {
				initial = b.Values(n, 1)
				copy(want, float64s(initial))
			}
			for i, v := range parts {
				want[i%n] += float64(v)
			}
			in := b.Input("parts", gpu.F32, s.parts*s.T, s.C, parts)
			out := b.Output("out", s.T, s.C, initial, want, 1e-13)
			b.Record(func() { kernels.SumParts(b.Rec, out, in, s.accumulate) })
		}})
	}
	return cases
}
