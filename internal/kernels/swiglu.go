package kernels

import "qlora-wgpu/gpu"

type swiGLUParams struct{ Count4 uint32 }

var (
	swiGLUForward  = define("swiglu_forward", "iiw", swiGLUParams{})
	swiGLUBackward = define("swiglu_backward", "wwi", swiGLUParams{})
)

// SwiGLUForward is y = silu(gate) * up with silu(g) = g / (1 + exp(-g)), all [T, F] with F a multiple of 4.
//
// Source: GLU Variants Improve Transformer (arXiv 2002.05202).
func SwiGLUForward(rec *gpu.Recorder, y, gate, up *gpu.Tensor) {
	const kernel = "swiglu_forward"
	n := swiGLUCount4(kernel, y, gate, up)
	rec.Dispatch(swiGLUForward.spec(nil), ceilDiv(n, 256), int64(40*n), swiGLUParams{Count4: uint32(n)},
		gate.Single(), up.Single(), y.Single())
}

// SwiGLUBackward replaces gate by dgate and up by dup in place. With s = sigmoid(gate): dgate = dy * up * s * (1 +
// gate*(1-s)), dup = dy * gate * s.
func SwiGLUBackward(rec *gpu.Recorder, gate, up, dy *gpu.Tensor) {
	const kernel = "swiglu_backward"
	n := swiGLUCount4(kernel, dy, gate, up)
	rec.Dispatch(swiGLUBackward.spec(nil), ceilDiv(n, 256), int64(60*n), swiGLUParams{Count4: uint32(n)},
		gate.Single(), up.Single(), dy.Single())
}

func swiGLUCount4(kernel string, y, gate, up *gpu.Tensor) int {
	sameShape(kernel, y, gate, up)
	require(y.Cols%4 == 0, kernel, "%d columns are no multiple of 4", y.Cols)
	return y.Rows * y.Cols / 4
}
