package kernels

import "qlora-wgpu/gpu"

type residualAddParams struct {
	Count4 uint32
	Scale  float32
}

var residualAddForward = define("residual_add_forward", "iiw", residualAddParams{})

// ResidualAddForward is y = a + scale·b, all [T, C] with C a multiple of 4.
func ResidualAddForward(rec *gpu.Recorder, y, a, b *gpu.Tensor, scale float32) {
	sameShape("residual_add_forward", y, a, b)
	require(y.Cols%4 == 0, "residual_add_forward", "%d columns are no multiple of 4", y.Cols)
	n := y.Rows * y.Cols / 4
	rec.Dispatch(residualAddForward.spec(nil), ceilDiv(n, 256), int64(8*n), residualAddParams{Count4: uint32(n), Scale: scale},
		a.Single(), b.Single(), y.Single())
}
