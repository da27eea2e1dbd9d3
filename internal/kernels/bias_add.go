package kernels

import "qlora-wgpu/gpu"

type biasAddParams struct{ Count4, Rows4, Stride4, First4, Bias4 uint32 }

var biasAddForward = define("bias_add_forward", "rw", biasAddParams{})

// BiasAddForward is y[t, first+i] += bias[i] for i in [0, rows): y [T, N] float32, first, rows and N multiples of 4.
// A frozen bias has no gradient, and passes dy on as it is.
func BiasAddForward(rec *gpu.Recorder, y *gpu.Tensor, bias Vector, first, rows int) {
	const kernel = "bias_add_forward"
	require(first%4 == 0 && rows%4 == 0 && y.Cols%4 == 0 && first+rows <= y.Cols, kernel,
		"columns %d to %d of %s, which has %d", first, first+rows, y.Name, y.Cols)
	bias.check(kernel, rows)
	n := y.Rows * rows / 4
	rec.Dispatch(biasAddForward.spec(nil), ceilDiv(n, 256), int64(4*n), biasAddParams{
		Count4: uint32(n), Rows4: uint32(rows / 4), Stride4: uint32(y.Cols / 4), First4: uint32(first / 4),
		Bias4: bias.Offset / 4,
	}, bias.Range, y.Single())
}
