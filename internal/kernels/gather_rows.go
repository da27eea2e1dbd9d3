package kernels

import "qlora-wgpu/gpu"

type gatherRowsParams struct {
	Rows    uint32
	Cols4   uint32
	Sources uint32
}

var gatherRows = define("gather_rows", "iiw", gatherRowsParams{})

// GatherRows is y[s] = x[rows[s]]: y [S, C], x [T, C] with C a multiple of 4, rows U32 with at least S elements below
// T.
func GatherRows(rec *gpu.Recorder, y, x, rows *gpu.Tensor) {
	const kernel = "gather_rows"
	require(y.Cols == x.Cols && y.Cols%4 == 0, kernel, "rows of %d columns from %d", y.Cols, x.Cols)
	require(rows.Rows*rows.Cols >= y.Rows, kernel, "%d row numbers for %d rows", rows.Rows*rows.Cols, y.Rows)
	n := y.Rows * y.Cols / 4
	params := gatherRowsParams{Rows: uint32(y.Rows), Cols4: uint32(y.Cols / 4), Sources: uint32(x.Rows)}
	rec.Dispatch(gatherRows.spec(nil), ceilDiv(n, 256), int64(16*n), params, x.Single(), rows.Single(), y.Single())
}
