package kernels

import "qlora-wgpu/gpu"

type sumPartsParams struct{ Count4, Parts, Accumulate uint32 }

var sumParts = define("sum_parts", "iw", sumPartsParams{})

// SumParts is out [T, C] = sum of parts [P·T, C], which is P tensors of out's shape below one another, one added after
// another; added to out when accumulate is set. T·C is a multiple of 4.
func SumParts(rec *gpu.Recorder, out, parts *gpu.Tensor, accumulate bool) {
	const op = "sum_parts"
	require(parts.Cols == out.Cols && parts.Rows%out.Rows == 0 && parts.Rows > 0 && out.Rows*out.Cols%4 == 0, op,
		"out is %d×%d, parts %d×%d", out.Rows, out.Cols, parts.Rows, parts.Cols)
	count4, n := out.Rows*out.Cols/4, parts.Rows/out.Rows
	rec.Dispatch(sumParts.spec(nil), ceilDiv(count4, 64), int64(4*count4*n), sumPartsParams{
		Count4: uint32(count4), Parts: uint32(n), Accumulate: flag(accumulate),
	}, parts.Single(), out.Single())
}
