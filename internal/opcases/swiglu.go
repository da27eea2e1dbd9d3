package opcases

import (
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/reference"
)

var _ = register(swiGLU)

// WGSL's exp is off by up to 3 + 2|x| ulp, with |gate| mostly below 9: a relative error of at most 1e-6. GELU's 1 +
// tanh is off by 1e-7, which where it is small is more of it.
const swiGLUAllowance = 1e-11

func swiGLU() []Case {
	return append(gated("", kernels.SwiGLUForward, kernels.SwiGLUBackward, reference.SwiGLUForward, reference.SwiGLUBackward),
		gated(" GELU", kernels.GEGLUForward, kernels.GEGLUBackward, reference.GEGLUForward, reference.GEGLUBackward)...)
}

// gated are the cases of an activation.
func gated(
	name string, forward, backward func(rec *gpu.Recorder, a, b, c *gpu.Tensor), wantForward func(gate, up []float64) []float64,
	wantBackward func(dy, gate, up []float64) (dgate, dup []float64),
) (cases []Case) {
	for _, s := range [][2]int{{1, 4}, {1, 1020}, {2, 512}, {5, 516}, {37, 1536}} {
		T, F := s[0], s[1]
		values := func(b *Bench) (gate, up []float32) {
			gate, up = b.Values(T*F, 3), b.Values(T*F, 1)
			gate[0], gate[1], gate[2], gate[3] = 100, -100, 0, -20 // where exp overflows, and where it is large
			return gate, up
		}
		shape := fmt.Sprintf("T=%d F=%d%s", T, F, name)
		cases = append(cases, Case{Op: "swiglu_forward", Shape: shape, Run: func(b *Bench) {
			g, u := values(b)
			gate, up := b.Input("gate", gpu.F32, T, F, g), b.Input("up", gpu.F32, T, F, u)
			y := b.Output("y", T, F, nil, wantForward(float64s(g), float64s(u)), swiGLUAllowance)
			b.Record(func() { forward(b.Rec, y, gate, up) })
		}}, Case{Op: "swiglu_backward", Shape: shape, Run: func(b *Bench) {
			g, u := values(b)
			d := b.Values(T*F, 1)
			dgate, dup := wantBackward(float64s(d), float64s(g), float64s(u))
			dy := b.Input("dy", gpu.F32, T, F, d)
			gate := b.Output("dgate", T, F, g, dgate, swiGLUAllowance)
			up := b.Output("dup", T, F, u, dup, swiGLUAllowance)
			b.Record(func() { backward(b.Rec, gate, up, dy) })
		}})
	}
	return cases
}
