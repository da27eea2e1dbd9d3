package opcases

import (
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/reference"
)

var _ = register(dropout)

// Two f32 roundings. One element masked otherwise than the reference would cost 1e-5 of the largest case: the mask is
// bit-equal.
const dropoutAllowance = 1e-13

func dropout() (cases []Case) {
	key := kernels.DropoutKey{K0: 412, K1: 0xdeadbeef}
	for _, s := range []struct {
		T, C int
		p    float32
	}{{1, 4, 0.5}, {1, 1020, 0.1}, {2, 512, 0}, {5, 516, 0.05}, {37, 576, 0.9}, {130, 576, 0.1}} {
		T, C := s.T, s.C
		shape := fmt.Sprintf("T=%d C=%d p=%v", T, C, s.p)
		cases = append(cases, Case{Op: "dropout_forward", Shape: shape, Run: func(b *Bench) {
			x := b.Values(T*C, 1)
			want, _ := reference.Dropout(float64s(x), key.K0, key.K1, float64(s.p))
			xs, y := b.Input("x", gpu.F32, T, C, x), b.Output("y", T, C, nil, want, dropoutAllowance)
			b.Record(func() { kernels.DropoutForward(b.Rec, y, xs, key, s.p) })
		}}, Case{Op: "dropout_backward_add", Shape: shape, Run: func(b *Bench) {
			dy, initial := b.Values(T*C, 1), b.Values(T*C, 1)
			want, _ := reference.Dropout(float64s(dy), key.K0, key.K1, float64(s.p))
			for i, v := range initial {
				want[i] += float64(v)
			}
			dys, dx := b.Input("dy", gpu.F32, T, C, dy), b.Output("dx", T, C, initial, want, dropoutAllowance)
			b.Record(func() { kernels.DropoutBackwardAdd(b.Rec, dx, dys, key, s.p) })
		}})
	}
	return cases
}
