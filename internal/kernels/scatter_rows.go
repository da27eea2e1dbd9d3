package kernels

import "qlora-wgpu/gpu"

type scatterRowsParams struct {
	Rows    uint32
	Cols4   uint32
	Sources uint32
}

var scatterRows = define("scatter_rows", "iiw", scatterRowsParams{})

// ScatterRows is the backward of GatherRows over distinct rows: y[t] = x[inverse[t]-1], or zero where inverse[t] is 0.
// y is [T, C], x [S, C] with C a multiple of 4; inverse is U32 with at least T elements, which the host makes from
// rows: inverse[rows[s]] = s+1.
func ScatterRows(rec *gpu.Recorder, y, x, inverse *gpu.Tensor) {
	const kernel = "scatter_rows"
	require(y.Cols == x.Cols && y.Cols%4 == 0, kernel, "rows of %d columns from %d", y.Cols, x.Cols)
	require(inverse.Rows*inverse.Cols >= y.Rows, kernel, "%d row numbers for %d rows", inverse.Rows*inverse.Cols, y.Rows)
	n := y.Rows * y.Cols / 4
	params := scatterRowsParams{Rows: uint32(y.Rows), Cols4: uint32(y.Cols / 4), Sources: uint32(x.Rows)}
	rec.Dispatch(scatterRows.spec(nil), ceilDiv(n, 256), int64(16*n), params, x.Single(), inverse.Single(), y.Single())
}
