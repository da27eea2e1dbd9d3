package kernels

import "qlora-wgpu/gpu"

type copyColumnsParams struct {
	Rows, Cols4, XCols4, XFirst4, YCols4, YFirst4 uint32
}

var copyColumnsForward = define("copy_columns_forward", "iw", copyColumnsParams{})

// SplitColumns copies x's columns from first on to y: x [T, C], y [T, n], all three numbers multiples of 4.
func SplitColumns(rec *gpu.Recorder, y, x *gpu.Tensor, first int) {
	copyColumns(rec, y, x, 0, first, y.Cols)
}

// JoinColumns copies x to y's columns from first on: x [T, n], y [T, C]. It is the backward of SplitColumns where the
// parts make up the whole.
func JoinColumns(rec *gpu.Recorder, y, x *gpu.Tensor, first int) {
	copyColumns(rec, y, x, first, 0, x.Cols)
}

func copyColumns(rec *gpu.Recorder, y, x *gpu.Tensor, yFirst, xFirst, n int) {
	const kernel = "copy_columns_forward"
	require(x.Rows == y.Rows, kernel, "%d rows to %d", x.Rows, y.Rows)
	require(x.Cols%4 == 0 && y.Cols%4 == 0 && n%4 == 0 && xFirst%4 == 0 && yFirst%4 == 0, kernel,
		"%d columns of %d from %d to %d of %d are no multiples of 4", n, x.Cols, xFirst, yFirst, y.Cols)
	require(xFirst+n <= x.Cols && yFirst+n <= y.Cols, kernel, "columns %d to %d of %d", max(xFirst, yFirst), n, min(x.Cols, y.Cols))
	rec.Dispatch(copyColumnsForward.spec(nil), ceilDiv(x.Rows*n/4, 256), int64(x.Rows*n), copyColumnsParams{
		Rows: uint32(x.Rows), Cols4: uint32(n / 4), XCols4: uint32(x.Cols / 4), XFirst4: uint32(xFirst / 4),
		YCols4: uint32(y.Cols / 4), YFirst4: uint32(yFirst / 4),
	}, x.Single(), y.Single())
}
