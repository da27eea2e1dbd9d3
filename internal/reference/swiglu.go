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

// GEGLUForward: y = gelu(gate) * up with gelu(g) = g/2 * (1 + tanh(sqrt(2/pi) * (g + 0.044715 g³))), element by
// element.
//
// Source: GLU Variants Improve Transformer (arXiv 2002.05202); the tanh form is of Gaussian Error Linear Units (arXiv
// 1606.08415).
func GEGLUForward(gate, up []float64) []float64 {
	wantLen("up", len(up), len(gate))
	y := make([]float64, len(gate))
	for i, g := range gate {
		value, _ := gelu(g)
		y[i] = value * up[i]
	}
	return y
}

// GEGLUBackward: dgate = dy * up * gelu'(gate), dup = dy * gelu(gate).
func GEGLUBackward(dy, gate, up []float64) (dgate, dup []float64) {
	wantLen("up", len(up), len(gate))
	wantLen("dy", len(dy), len(gate))
	dgate, dup = make([]float64, len(gate)), make([]float64, len(gate))
	for i, g := range gate {
		value, slope := gelu(g)
		dgate[i], dup[i] = dy[i]*up[i]*slope, dy[i]*value
	}
	return dgate, dup
}

// gelu is its value and its derivative.
func gelu(g float64) (value, slope float64) {
	const cubic = 0.044715
	scale := math.Sqrt(2 / math.Pi)
	t := math.Tanh(scale * (g + cubic*g*g*g))
	return g / 2 * (1 + t), (1+t)/2 + g/2*(1-t*t)*scale*(1+3*cubic*g*g)
}

func sigmoid(v float64) float64 { return 1 / (1 + math.Exp(-v)) }
