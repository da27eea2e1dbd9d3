package kernels

import "qlora-wgpu/gpu"

type rmsNormForwardParams struct {
	Cols4   uint32
	Weight4 uint32
	Epsilon float32
}

type rmsNormBackwardParams struct {
	Cols4      uint32
	Weight4    uint32
	Epsilon    float32
	Accumulate uint32
}

var (
	rmsNormForward  = define("rms_norm_forward", "irw", rmsNormForwardParams{})
	rmsNormBackward = define("rms_norm_backward", "iirw", rmsNormBackwardParams{})
)

// RMSNorm is a norm's frozen weight [C] and epsilon.
type RMSNorm struct {
	Weight  Vector
	Epsilon float32
}

// RMSNormForward is y[t] = x[t] * weight / sqrt(mean(x[t]²) + eps). x and y are [T, C] with C a multiple of 4. Nothing
// is saved: the backward sums the squares again.
//
// Source: Root Mean Square Layer Normalization (arXiv 1910.07467), eps inside the root as in transformers'
// LlamaRMSNorm.
func RMSNormForward(rec *gpu.Recorder, y, x *gpu.Tensor, n RMSNorm) {
	const kernel = "rms_norm_forward"
	sameShape(kernel, y, x)
	require(x.Cols%4 == 0, kernel, "%d columns are no multiple of 4", x.Cols)
	n.Weight.check(kernel, x.Cols)
	params := rmsNormForwardParams{Cols4: uint32(x.Cols / 4), Weight4: n.Weight.Offset / 4, Epsilon: n.Epsilon}
	rec.Dispatch(rmsNormForward.spec(nil), x.Rows, int64(4*x.Rows*x.Cols), params, x.Single(), n.Weight.Range, y.Single())
}

// RMSNormBackward is dx = inv * (weight*dy - x * inv² * mean(weight*dy*x)) with inv = 1/sqrt(mean(x²) + eps), or dx +=
// that with accumulate (the residual path's gradient is there already). All [T, C]; dx overlaps neither dy nor x. The
// weight is frozen and gets no gradient.
func RMSNormBackward(rec *gpu.Recorder, dx, dy, x *gpu.Tensor, n RMSNorm, accumulate bool) {
	const kernel = "rms_norm_backward"
	sameShape(kernel, dx, dy, x)
	require(x.Cols%4 == 0, kernel, "%d columns are no multiple of 4", x.Cols)
	n.Weight.check(kernel, x.Cols)
	params := rmsNormBackwardParams{
		Cols4: uint32(x.Cols / 4), Weight4: n.Weight.Offset / 4, Epsilon: n.Epsilon, Accumulate: flag(accumulate),
	}
	rec.Dispatch(rmsNormBackward.spec(nil), x.Rows, int64(12*x.Rows*x.Cols), params, dy.Single(), x.Single(), n.Weight.Range, dx.Single())
}
