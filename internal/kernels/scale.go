package kernels

import "qlora-wgpu/gpu"

type scaleParams struct {
	Count4 uint32
	Scale  float32
}

var scaleForward = define("scale_forward", "iw", scaleParams{})

// ScaleForward is y = scale·x, both [T, C] with C a multiple of 4. Its backward is the same.
func ScaleForward(rec *gpu.Recorder, y, x *gpu.Tensor, scale float32) {
	sameShape("scale_forward", y, x)
	require(y.Cols%4 == 0, "scale_forward", "%d columns are no multiple of 4", y.Cols)
	n := y.Rows * y.Cols / 4
	rec.Dispatch(scaleForward.spec(nil), ceilDiv(n, 256), int64(4*n), scaleParams{Count4: uint32(n), Scale: scale}, x.Single(), y.Single())
}
