package opcases

import (
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/reference"
)

var _ = register(gatherRows)

// A workgroup takes 256 vec4, which 16 rows of 64 columns fill: S and T lie around it. {S, T, C}
var rowShapes = [][3]int{{1, 1, 4}, {1, 37, 64}, {15, 16, 64}, {16, 17, 64}, {17, 33, 64}, {23, 130, 576}}

func gatherRows() (cases []Case) {
	for _, s := range rowShapes {
		S, T, C := s[0], s[1], s[2]
		cases = append(cases, Case{Op: "gather_rows", Shape: fmt.Sprintf("S=%d T=%d C=%d", S, T, C), Run: func(b *Bench) {
			x, rows := b.Values(T*C, 1), b.distinct(S, T)
			xs, r := b.Input("x", gpu.F32, T, C, x), b.InputU32("rows", rows)
			// A copy: exact.
			y := b.Output("y", S, C, nil, reference.GatherRows(float64s(x), C, rows), 1e-14)
			b.Record(func() { kernels.GatherRows(b.Rec, y, xs, r) })
		}})
	}
	return cases
}

// distinct draws n different numbers below limit, in no order.
func (b *Bench) distinct(n, limit int) []uint32 {
	out := make([]uint32, 0, n)
	for _, i := range b.rng.Perm(limit)[:n] {
		out = append(out, uint32(i))
	}
	return out
}
