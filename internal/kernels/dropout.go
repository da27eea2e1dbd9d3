package kernels

import (
	"math"

	"qlora-wgpu/gpu"
)

// DropoutKey seeds one mask: the same key gives the same mask in forward and backward, whatever the order of the work.
type DropoutKey struct{ K0, K1 uint32 }

type dropoutParams struct {
	Count4    uint32
	Key0      uint32
	Key1      uint32
	Threshold uint32
	Scale     float32
}

var (
	dropoutForward     = define("dropout_forward", "iw", dropoutParams{})
	dropoutBackwardAdd = define("dropout_backward_add", "iw", dropoutParams{})
)

// DropoutForward is y = x * mask / (1-p), both [T, C] with C a multiple of 4 and 0 <= p < 1. Element i (row-major) is
// kept when the upper 24 bits of pcg(pcg(i ^ pcg(K0)) ^ K1) are at least ceil(p * 2^24).
//
// Source of pcg: Hash Functions for GPU Rendering (Jarzynski and Olano, JCGT 9(3), 2020).
func DropoutForward(rec *gpu.Recorder, y, x *gpu.Tensor, key DropoutKey, p float32) {
	dropout(rec, dropoutForward, y, x, key, p)
}

// DropoutBackwardAdd is dx += dy * mask / (1-p), with the mask of DropoutForward.
func DropoutBackwardAdd(rec *gpu.Recorder, dx, dy *gpu.Tensor, key DropoutKey, p float32) {
	dropout(rec, dropoutBackwardAdd, dx, dy, key, p)
}

func dropout(rec *gpu.Recorder, o *shader, out, in *gpu.Tensor, key DropoutKey, p float32) {
	sameShape(o.name, out, in)
	require(out.Cols%4 == 0, o.name, "%d columns are no multiple of 4", out.Cols)
	require(p >= 0 && p < 1, o.name, "probability %v", p)
	n := out.Rows * out.Cols / 4
	params := dropoutParams{
		Count4: uint32(n), Key0: key.K0, Key1: key.K1,
		Threshold: uint32(math.Ceil(float64(p) * (1 << 24))), Scale: float32(1 / (1 - float64(p))),
	}
	rec.Dispatch(o.spec(nil), ceilDiv(n, 256), int64(100*n), params, in.Single(), out.Single())
}
