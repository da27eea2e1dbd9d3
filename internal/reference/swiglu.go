package reference

import "math"

// SwiGLUForward: y = silu(gate) * up with silu(g) = g / (1 + exp(-g)), element by element.
//
// Source: GLU Variants Improve Transformer (arXiv 2002.05202).
func SwiGLUForward(gate, up []float64) []float64 {
	wantLen("up", len(up), len(gate))
	y := make([]float64, len(gate))
	for i, g := range gate {
		y[i] = g * sigmoid(g) * up[i]
	}
	return y
}

// SwiGLUBackward, with s = sigmoid(gate): dgate = dy * up * s * (1 + gate*(1-s)), dup = dy * gate * s.
func SwiGLUBackward(dy, gate, up []float64) (dgate, dup []float64) {
	wantLen("up", len(up), len(gate))
	wantLen("dy", len(dy), len(gate))
	dgate, dup = make([]float64, len(gate)), make([]float64, len(gate))
	for i, g := range gate {
		s := sigmoid(g)
		dgate[i] = dy[i] * up[i] * s * (1 + g*(1-s))
		dup[i] = dy[i] * g * s
	}
	return dgate, dup
}

func sigmoid(v float64) float64 { return 1 / (1 + math.Exp(-v)) }
