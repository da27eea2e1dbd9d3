package kernels

import "qlora-wgpu/gpu"

type swiGLUParams struct{ Count4 uint32 }

var (
	swiGLUForward  = define("swiglu_forward", "iiw", swiGLUParams{})
	swiGLUBackward = define("swiglu_backward", "wwi", swiGLUParams{})
)

// withGELU are the constants of the kernels with GELU in the place of SiLU.
var withGELU = map[string]uint32{"GELU": 1}

// SwiGLUForward is y = silu(gate) * up with silu(g) = g / (1 + exp(-g)), all [T, F] with F a multiple of 4.
//
// Source: GLU Variants Improve Transformer (arXiv 2002.05202).
func SwiGLUForward(rec *gpu.Recorder, y, gate, up *gpu.Tensor) { gluForward(rec, y, gate, up, nil) }

// GEGLUForward is y = gelu(gate) * up with gelu(g) = g/2 · (1 + tanh(√(2/π)·(g + 0.044715·g³))), under the terms of
// SwiGLUForward.
//
// Source: GLU Variants Improve Transformer (arXiv 2002.05202); Gaussian Error Linear Units (arXiv 1606.08415).
func GEGLUForward(rec *gpu.Recorder, y, gate, up *gpu.Tensor) {
	gluForward(rec, y, gate, up, withGELU)
}

func gluForward(rec *gpu.Recorder, y, gate, up *gpu.Tensor, constants map[string]uint32) {
	const kernel = "swiglu_forward"
	n := swiGLUCount4(kernel, y, gate, up)
	rec.Dispatch(swiGLUForward.spec(constants), ceilDiv(n, 256), int64(40*n), swiGLUParams{Count4: uint32(n)},
		gate.Single(), up.Single(), y.Single())
}

// SwiGLUBackward replaces gate by dgate and up by dup in place. With s = sigmoid(gate): dgate = dy * up * s * (1 +
// gate*(1-s)), dup = dy * gate * s.
func SwiGLUBackward(rec *gpu.Recorder, gate, up, dy *gpu.Tensor) {
	gluBackward(rec, gate, up, dy, nil)
}

// GEGLUBackward replaces gate by dgate = dy * up * gelu'(gate) and up by dup = dy * gelu(gate), in place.
func GEGLUBackward(rec *gpu.Recorder, gate, up, dy *gpu.Tensor) {
	gluBackward(rec, gate, up, dy, withGELU)
}

func gluBackward(rec *gpu.Recorder, gate, up, dy *gpu.Tensor, constants map[string]uint32) {
	const kernel = "swiglu_backward"
	n := swiGLUCount4(kernel, dy, gate, up)
	rec.Dispatch(swiGLUBackward.spec(constants), ceilDiv(n, 256), int64(60*n), swiGLUParams{Count4: uint32(n)},
		gate.Single(), up.Single(), dy.Single())
}

func swiGLUCount4(kernel string, y, gate, up *gpu.Tensor) int {
	sameShape(kernel, y, gate, up)
	require(y.Cols%4 == 0, kernel, "%d columns are no multiple of 4", y.Cols)
	return y.Rows * y.Cols / 4
}
