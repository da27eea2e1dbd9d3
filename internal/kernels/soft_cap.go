package kernels

import "qlora-wgpu/gpu"

type softCapParams struct {
	Count4 uint32
	Scale  float32
}

var softCapForward = define("soft_cap_forward", "w", softCapParams{})

// SoftCapForward is x = limit·tanh(x/limit) in place, x [T, C] with C a multiple of 4. Its backward is in
// [CrossEntropyForwardBackward], whose logits it caps.
//
// Source: Gemma 2 (arXiv 2408.00118), section 2.
func SoftCapForward(rec *gpu.Recorder, x *gpu.Tensor, limit float32) {
	require(x.Cols%4 == 0, "soft_cap_forward", "%d columns are no multiple of 4", x.Cols)
	n := x.Rows * x.Cols / 4
	rec.Dispatch(softCapForward.spec(nil), ceilDiv(n, 256), int64(100*n), softCapParams{Count4: uint32(n), Scale: limit}, x.Single())
}
