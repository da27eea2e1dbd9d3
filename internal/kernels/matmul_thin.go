package kernels

import "qlora-wgpu/gpu"

// The products of LoRA that sum over the rank read both operands through uniform arrays on CPU devices; what they cost is then reading and writing the wide result.

type matmulForwardThinParams struct {
	Tokens, FirstToken, XFirst4, K4, Rows4, WFirst4, YStride4, YFirst4, RowTiles, Accumulate uint32
	Alpha                                                                                    float32
}

type matmulBackwardThinParams struct {
	Tokens, FirstToken, DyFirst4, DyStride4, Rows4, DyColumn4, WFirst4, Cols4, ColTiles, Accumulate uint32
	Alpha                                                                                           float32
}

var (
	matmulForwardThin  = define("matmul_forward_thin", "uuw", matmulForwardThinParams{})
	matmulBackwardThin = define("matmul_backward_thin", "uuw", matmulBackwardThinParams{})
)

// Of a workgroup's tile, as the shaders say.
const thinTokens, thinOutputs = 16, 64

// forwardThinFits: w's rows come in fours, some of which lie in one window, and a few tokens of x in another.
func forwardThinFits(w *gpu.Tensor) bool {
	return w.DType == gpu.F32 && w.Rows%4 == 0 && 4*w.Cols <= windowElements
}

// backwardThinFits: some rows of w lie in one window.
func backwardThinFits(w *gpu.Tensor, dy *gpu.Tensor) bool {
	return w.DType == gpu.F32 && 4*w.Cols <= windowElements && dy.Cols <= windowElements
}

// thinWindows calls record for each piece of the tokens of x and the window in which they lie.
func thinWindows(rec *gpu.Recorder, x *gpu.Tensor, record func(first, tokens int, window gpu.Range, first4 uint32)) {
	copied := rec.UniformScratch(scratchNarrow, x.Bytes())
	from := x.Single()
	from.Size = x.Bytes()
	rec.Copy(gpu.Range{Buffer: copied, Size: from.Size}, from)
	piece := windowElements / x.Cols
	for first := 0; first < x.Rows; first += piece {
		window, skip := copied.UniformWindow(gpu.F32.Size(first * x.Cols))
		record(first, min(piece, x.Rows-first), window, uint32(skip/16))
	}
}

// matmulForwardThinPieces is the forward product with x and w in uniform arrays.
func matmulForwardThinPieces(rec *gpu.Recorder, y, x, w *gpu.Tensor, alpha float32, accumulate bool) {
	piece := windowElements / w.Cols / 4 * 4
	thinWindows(rec, x, func(t, tokens int, xs gpu.Range, x4 uint32) {
		for _, s := range w.Shards {
			for row := 0; row < s.Rows; row += piece {
				rows := min(piece, s.Rows-row)
				ws, skip := s.Range.Buffer.UniformWindow(s.Range.Offset + gpu.F32.Size(row*w.Cols))
				tiles := ceilDiv(rows, thinOutputs)
				rec.Dispatch(matmulForwardThin.spec(nil), tiles*ceilDiv(tokens, thinTokens), int64(2*tokens)*int64(rows)*int64(w.Cols), matmulForwardThinParams{
					Tokens: uint32(tokens), FirstToken: uint32(t), XFirst4: x4, K4: uint32(w.Cols / 4), Rows4: uint32(rows / 4), WFirst4: uint32(skip / 16),
					YStride4: uint32(y.Cols / 4), YFirst4: uint32((s.Row + row) / 4), RowTiles: uint32(tiles), Accumulate: flag(accumulate), Alpha: alpha,
				}, xs, ws, y.Single())
			}
		}
	})
}

// matmulBackwardThinPieces is the input's gradient with dy and w in uniform arrays.
func matmulBackwardThinPieces(rec *gpu.Recorder, dx, dy, w *gpu.Tensor, alpha float32, accumulate bool) {
	piece := windowElements / w.Cols / 4 * 4
	tiles := ceilDiv(w.Cols, thinOutputs)
	thinWindows(rec, dy, func(t, tokens int, dys gpu.Range, dy4 uint32) {
		for _, s := range w.Shards {
			for row := 0; row < s.Rows; row += piece {
				rows := min(piece, s.Rows-row)
				ws, skip := s.Range.Buffer.UniformWindow(s.Range.Offset + gpu.F32.Size(row*w.Cols))
				rec.Dispatch(matmulBackwardThin.spec(nil), tiles*ceilDiv(tokens, thinTokens), int64(2*tokens)*int64(rows)*int64(w.Cols), matmulBackwardThinParams{
					Tokens: uint32(tokens), FirstToken: uint32(t), DyFirst4: dy4, DyStride4: uint32(dy.Cols / 4), Rows4: uint32(rows / 4), DyColumn4: uint32((s.Row + row) / 4),
					WFirst4: uint32(skip / 16), Cols4: uint32(w.Cols / 4), ColTiles: uint32(tiles), Accumulate: flag(accumulate || s.Row+row > 0), Alpha: alpha,
				}, dys, ws, dx.Single())
			}
		}
	})
}
