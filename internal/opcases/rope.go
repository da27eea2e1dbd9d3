package opcases

import (
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/reference"
)

var _ = register(rope)

// Three f32 roundings an element, and those of the tables, which the reference reads rounded too.
const ropeAllowance = 1e-12

func rope() (cases []Case) {
	const table = 40
	// A workgroup takes 64 pairs of columns: 1, 16 and 33 tokens of D=64 (16 pairs each) lie on both sides of whole
	// groups.
	for _, s := range [][4]int{
		{1, 9, 64, 64}, {4, 3, 64, 64}, {33, 9, 64, 64}, {17, 2, 4, 4}, {5, 3, 12, 12}, {9, 2, 128, 128}, {3, 1, 256, 256},
		{33, 3, 32, 24}, {9, 2, 128, 96}, {5, 2, 80, 20}, // a part of a head rotates
	} {
		T, H, D, R := s[0], s[1], s[2], s[3]
		for _, backward := range []bool{false, true} {
			op, rotate := "rope_forward", kernels.RoPEForward
			want := reference.RoPEForward
			if backward {
				op, rotate, want = "rope_backward", kernels.RoPEBackward, reference.RoPEBackward
			}
			cases = append(cases, Case{Op: op, Shape: fmt.Sprintf("T=%d H=%d D=%d R=%d", T, H, D, R), Run: func(b *Bench) {
				cosines, sines := reference.RoPETables(R, table, 10000, reference.RoPEScaling{})
				c, cosines := rounded(cosines)
				s, sines := rounded(sines)
				positions, clamped := make([]uint32, T), make([]uint32, T)
				for t := range positions {
					positions[t] = uint32(b.Intn(table))
					clamped[t] = positions[t]
				}
				positions[T/2], clamped[T/2] = 1<<31+5, table-1 // beyond the tables
				x := b.Values(T*H*D, 1)
				r := kernels.RoPE{
					Cos: b.Input("cos", gpu.F32, table, R/2, c), Sin: b.Input("sin", gpu.F32, table, R/2, s),
					Positions: b.InputU32("positions", positions), Heads: H, HeadDim: D,
				}
				y := b.Output("x", T, H*D, x, want(float64s(x), H, D, R, clamped, cosines, sines), ropeAllowance)
				b.Record(func() { rotate(b.Rec, y, r) })
			}})
		}
	}
	return cases
}

// rounded is x in float32, and the same numbers widened again.
func rounded(x []float64) ([]float32, []float64) {
	out := make([]float32, len(x))
	for i, v := range x {
		out[i] = float32(v)
	}
	return out, float64s(out)
}
