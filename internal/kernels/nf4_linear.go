package kernels

import "qlora-wgpu/gpu"

// An NF4 weight as a frozen linear; internal/frozen says what that is.

func (w *NF4Weight) Forward(rec *gpu.Recorder, y, x *gpu.Tensor) { MatmulNF4Forward(rec, y, x, w) }

func (w *NF4Weight) Backward(rec *gpu.Recorder, dx, dy *gpu.Tensor, accumulate bool) {
	MatmulNF4Backward(rec, dx, dy, w, accumulate)
}

func (w *NF4Weight) Dequantize(rec *gpu.Recorder, out *gpu.Tensor) {
	DequantizeNF4Forward(rec, out, w)
}
