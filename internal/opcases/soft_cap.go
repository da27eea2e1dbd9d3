package opcases

import (
	"fmt"

	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/reference"
)

var _ = register(softCap)

// A few roundings of 6e-8 and tanh's 2e-7.
const softCapAllowance = 1e-12

func softCap() (cases []Case) {
	for _, s := range [][2]int{{1, 4}, {3, 1024}, {37, 576}} {
		T, C := s[0], s[1]
		for _, limit := range []float32{3, 50} {
			cases = append(cases, Case{Op: "soft_cap_forward", Shape: fmt.Sprintf("T=%d C=%d cap=%v", T, C, limit), Run: func(b *Bench) {
				values := b.Values(T*C, 4)
				values[0], values[1], values[2], values[3] = 1000, -1000, 0, 1e-6 // beyond the cap, and where tanh is its argument
				want := make([]float64, len(values))
				for i, v := range values {
					want[i] = reference.SoftCap(float64(v), float64(limit))
				}
				x := b.Output("x", T, C, values, want, softCapAllowance)
				b.Record(func() { kernels.SoftCapForward(b.Rec, x, limit) })
			}})
		}
	}
	return cases
}
