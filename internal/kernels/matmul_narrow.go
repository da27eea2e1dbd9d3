package kernels

import "qlora-wgpu/gpu"

// The products of LoRA have one narrow operand, of the rank. For CPU devices they have variants that read everything
// through uniform arrays.

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

// narrowVariant is a shader over a window of tokens and 4 outputs.
func narrowVariant(s *shader) Variant {
	return Variant{
		Name: "uniform_narrow", Tolerance: productTolerance, made: cpus, outgrown: true, parts: 1, storage: f32, shaders: []*shader{s},
		tokens: ChunkTokens, outputs: 4,
	}
}

var (
	forwardNarrow = variant[product]{
		Variant: narrowVariant(matmulForwardNarrow), run: product.forwardByNarrowChunks,
	}.orElse(product.unsharded, "registers_16x1")
	backwardNarrow = variant[product]{
		Variant: narrowVariant(matmulBackwardNarrow), run: product.backwardByNarrowChunks,
	}.orElse(product.rowsInWindow, "registers_16x1")
	gradientUniform = variant[product]{Variant: Variant{
		Name: "uniform_16x1", Tolerance: productTolerance, made: cpus, parts: 1, shaders: []*shader{matmulGradientUniform},
		tokens: gradientTokens, outputs: 32,
	}, run: product.gradientByChunks}.orElse(product.narrowInWindow, "registers_4x4")
)

// windowElements is how many float32 lie in one uniform window wherever they start.
const windowElements = (gpu.UniformBytes - 256) / 4

// unsharded: w can be packed as it is.
func (p product) unsharded(*gpu.Device, *Variant) bool { return len(p.w.Shards) == 1 }

// forwardByNarrowChunks has x and w in uniform arrays. Rows beyond the last of w are zeros of its packing.
func (p product) forwardByNarrowChunks(rec *gpu.Recorder, v *Variant) {
	x, y, w := p.x, p.y, p.w
	px, pw := packChunks(rec, scratchWide, x), packChunks(rec, scratchNarrow, w)
	for row := 0; row < w.Rows; row += ChunkTokens {
		rows4 := ceilDiv(min(ChunkTokens, w.Rows-row), 4)
		for chunk := 0; chunk*ChunkColumns < w.Cols; chunk++ {
			count := min(ChunkColumns, w.Cols-chunk*ChunkColumns)
			for t := 0; t < x.Rows; t += ChunkTokens {
				rec.Dispatch(v.spec(), rows4, flops(ChunkTokens, 4*rows4, count), matmulForwardNarrowParams{
					Tokens: uint32(x.Rows), YStride4: uint32(y.Cols / 4), YFirst4: uint32(row / 4), FirstToken: uint32(t),
					Count4: uint32(count / 4), Accumulate: flag(p.accumulate || chunk > 0), Alpha: p.alpha,
				}, px.window(chunk, t), pw.window(chunk, row), y.Single())
			}
		}
	}
}

// rowsInWindow: a few rows of w lie in one window.
func (p product) rowsInWindow(*gpu.Device, *Variant) bool { return 4*p.w.Cols <= windowElements }

// backwardByNarrowChunks has dy and w in uniform arrays.
func (p product) backwardByNarrowChunks(rec *gpu.Recorder, v *Variant) {
	dx, dy, w := p.x, p.y, p.w
	packed := packChunks(rec, scratchWide, dy)
	piece := windowElements / w.Cols / 4 * 4
	for _, s := range w.Shards {
		for first := s.Row; first < s.Row+s.Rows; {
			chunk := first / ChunkColumns
			end := min((chunk+1)*ChunkColumns, s.Row+s.Rows, first+piece)
			window, skip := s.Range.Buffer.UniformWindow(s.Range.Offset + gpu.F32.Size((first-s.Row)*w.Cols))
			for t := 0; t < dx.Rows; t += ChunkTokens {
				rec.Dispatch(v.spec(), w.Cols/4, flops(ChunkTokens, end-first, w.Cols), matmulBackwardNarrowParams{
					Tokens: uint32(dx.Rows), Cols4: uint32(w.Cols / 4), Count: uint32(end - first),
					WindowFirst: uint32(first - chunk*ChunkColumns), WFirst4: uint32(skip / 16),
					FirstToken: uint32(t), Accumulate: flag(p.accumulate || first > 0), Alpha: p.alpha,
				}, packed.window(chunk, t), window, dx.Single())
			}
			first = end
		}
	}
}

// gradientTokens is how many tokens a dispatch of the gradient takes, in windows of ChunkTokens.
const gradientTokens = 4 * ChunkTokens

// narrowInWindow: the narrow operand's rows of one dispatch lie in one window.
func (p product) narrowInWindow(*gpu.Device, *Variant) bool {
	return min(p.w.Rows, p.w.Cols)*gradientTokens <= windowElements
}

// gradientByChunks has both operands in uniform arrays.
func (p product) gradientByChunks(rec *gpu.Recorder, v *Variant) {
	dw := p.w
	wide, narrow, narrowRows := p.x, p.y, uint32(1)
	if dw.Cols < dw.Rows {
		wide, narrow, narrowRows = p.y, p.x, 0
	}
	packed := packChunks(rec, scratchWide, wide)
	thin := copied(rec, narrow)
	spec := v.shaders[0].spec(map[string]uint32{"NARROW_ROWS": narrowRows})
	for chunk := 0; chunk*ChunkColumns < wide.Cols; chunk++ {
		first, end := chunk*ChunkColumns, min((chunk+1)*ChunkColumns, wide.Cols)
		tiles := ceilDiv(end-first, 32)
		for t := 0; t < wide.Rows; t += gradientTokens {
			count := func(i int) uint32 { return uint32(min(ChunkTokens, max(0, wide.Rows-t-i*ChunkTokens))) }
			at := func(i int) gpu.Range { return packed.window(chunk, min(t+i*ChunkTokens, packed.padded-ChunkTokens)) }
			window, skip := thin.UniformWindow(gpu.F32.Size(t * narrow.Cols))
			groups := tiles * ceilDiv(narrow.Cols, 16)
			rec.Dispatch(spec, groups, flops(min(gradientTokens, wide.Rows-t), end-first, narrow.Cols), matmulGradientUniformParams{
				Count0: count(0), Count1: count(1), Count2: count(2), Count3: count(3),
				Wide4: uint32(wide.Cols / 4), Narrow4: uint32(narrow.Cols / 4), FirstWide4: uint32(first / 4), EndWide4: uint32(end / 4),
				NarrowFirst4: uint32(skip / 16), WideTiles: uint32(tiles), Alpha: p.alpha,
			}, at(0), at(1), at(2), at(3), window, dw.Single())
		}
	}
}

// copied is a narrow tensor as it is, in a uniform scratch.
func copied(rec *gpu.Recorder, x *gpu.Tensor) *gpu.Buffer {
	b := rec.UniformScratch(scratchNarrow, x.Bytes())
	from := x.Single()
	from.Size = x.Bytes()
	rec.Copy(gpu.Range{Buffer: b, Size: from.Size}, from)
	return b
}
