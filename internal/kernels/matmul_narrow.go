package kernels

import "qlora-wgpu/gpu"

// The products of LoRA have one narrow operand, of the rank. For CPU devices they have variants that read everything through uniform arrays.

type matmulForwardNarrowParams struct {
	Tokens, YStride4, YFirst4, FirstToken, Count4, Accumulate uint32
	Alpha                                                     float32
}

type matmulBackwardNarrowParams struct {
	Tokens, Cols4, Count, WindowFirst, WFirst4, FirstToken, Accumulate uint32
	Alpha                                                              float32
}

type matmulGradientUniformParams struct {
	Count0, Count1, Count2, Count3, Wide4, Narrow4, FirstWide4, EndWide4, NarrowFirst4, WideTiles uint32
	Alpha                                                                                         float32
}

var (
	matmulForwardNarrow   = define("matmul_forward_narrow", "uuw", matmulForwardNarrowParams{})
	matmulBackwardNarrow  = define("matmul_backward_narrow", "uuw", matmulBackwardNarrowParams{})
	matmulGradientUniform = define("matmul_gradient_uniform", "uuuuuw", matmulGradientUniformParams{})
)

// windowElements is how many float32 lie in one uniform window wherever they start.
const windowElements = (gpu.UniformBytes - 256) / 4

// forwardNarrowFits: w is packed as it is.
func forwardNarrowFits(w *gpu.Tensor) bool { return w.DType == gpu.F32 && len(w.Shards) == 1 }

// matmulForwardNarrowChunks is the forward product with x and w in uniform arrays. Rows beyond the last of w are zeros of its packing.
func matmulForwardNarrowChunks(rec *gpu.Recorder, y, x, w *gpu.Tensor, alpha float32, accumulate bool) {
	px, pw := packChunks(rec, scratchWide, x), packChunks(rec, scratchNarrow, w)
	for row := 0; row < w.Rows; row += uniformTokens {
		rows4 := ceilDiv(min(uniformTokens, w.Rows-row), 4)
		for chunk := 0; chunk*uniformColumns < w.Cols; chunk++ {
			count := min(uniformColumns, w.Cols-chunk*uniformColumns)
			for t := 0; t < x.Rows; t += uniformTokens {
				rec.Dispatch(matmulForwardNarrow.spec(nil), rows4, int64(2*uniformTokens*4*rows4*count), matmulForwardNarrowParams{
					Tokens: uint32(x.Rows), YStride4: uint32(y.Cols / 4), YFirst4: uint32(row / 4), FirstToken: uint32(t),
					Count4: uint32(count / 4), Accumulate: flag(accumulate || chunk > 0), Alpha: alpha,
				}, px.window(chunk, t), pw.window(chunk, row), y.Single())
			}
		}
	}
}

// backwardNarrowFits: a few rows of w lie in one window.
func backwardNarrowFits(w *gpu.Tensor) bool { return w.DType == gpu.F32 && 4*w.Cols <= windowElements }

// matmulBackwardNarrowChunks is the input's gradient with dy and w in uniform arrays.
func matmulBackwardNarrowChunks(rec *gpu.Recorder, dx, dy, w *gpu.Tensor, alpha float32, accumulate bool) {
	p := packChunks(rec, scratchWide, dy)
	piece := windowElements / w.Cols / 4 * 4
	for _, s := range w.Shards {
		for first := s.Row; first < s.Row+s.Rows; {
			chunk := first / uniformColumns
			end := min((chunk+1)*uniformColumns, s.Row+s.Rows, first+piece)
			window, skip := s.Range.Buffer.UniformWindow(s.Range.Offset + gpu.F32.Size((first-s.Row)*w.Cols))
			for t := 0; t < dx.Rows; t += uniformTokens {
				rec.Dispatch(matmulBackwardNarrow.spec(nil), w.Cols/4, int64(2*uniformTokens*(end-first)*w.Cols), matmulBackwardNarrowParams{
					Tokens: uint32(dx.Rows), Cols4: uint32(w.Cols / 4), Count: uint32(end - first), WindowFirst: uint32(first - chunk*uniformColumns), WFirst4: uint32(skip / 16),
					FirstToken: uint32(t), Accumulate: flag(accumulate || first > 0), Alpha: alpha,
				}, p.window(chunk, t), window, dx.Single())
			}
			first = end
		}
	}
}

// gradientTokens is how many tokens a dispatch of the gradient takes, in windows of uniformTokens.
const gradientTokens = 4 * uniformTokens

// gradientUniformFits: the narrow operand's rows of one dispatch lie in one window.
func gradientUniformFits(dw *gpu.Tensor) bool {
	return min(dw.Rows, dw.Cols)*gradientTokens <= windowElements
}

// matmulGradientChunks is the weight's gradient with both operands in uniform arrays.
func matmulGradientChunks(rec *gpu.Recorder, dw, dy, x *gpu.Tensor, alpha float32) {
	wide, narrow, narrowRows := x, dy, uint32(1)
	if dw.Cols < dw.Rows {
		wide, narrow, narrowRows = dy, x, 0
	}
	p := packChunks(rec, scratchWide, wide)
	thin := rec.UniformScratch(scratchNarrow, narrow.Bytes())
	from := narrow.Single()
	from.Size = narrow.Bytes()
	rec.Copy(gpu.Range{Buffer: thin, Size: from.Size}, from)
	spec := matmulGradientUniform.spec(map[string]uint32{"NARROW_ROWS": narrowRows})
	for chunk := 0; chunk*uniformColumns < wide.Cols; chunk++ {
		first, end := chunk*uniformColumns, min((chunk+1)*uniformColumns, wide.Cols)
		tiles := ceilDiv(end-first, 32)
		for t := 0; t < wide.Rows; t += gradientTokens {
			count := func(i int) uint32 { return uint32(min(uniformTokens, max(0, wide.Rows-t-i*uniformTokens))) }
			at := func(i int) gpu.Range { return p.window(chunk, min(t+i*uniformTokens, p.padded-uniformTokens)) }
			window, skip := thin.UniformWindow(gpu.F32.Size(t * narrow.Cols))
			rec.Dispatch(spec, tiles*ceilDiv(narrow.Cols, 16), int64(2*min(gradientTokens, wide.Rows-t)*(end-first)*narrow.Cols), matmulGradientUniformParams{
				Count0: count(0), Count1: count(1), Count2: count(2), Count3: count(3), Wide4: uint32(wide.Cols / 4), Narrow4: uint32(narrow.Cols / 4),
				FirstWide4: uint32(first / 4), EndWide4: uint32(end / 4), NarrowFirst4: uint32(skip / 16), WideTiles: uint32(tiles), Alpha: alpha,
			}, at(0), at(1), at(2), at(3), window, dw.Single())
		}
	}
}
