package kernels

import "qlora-wgpu/gpu"

// The NF4 products with activations and scales in uniform arrays, for CPU devices.

type matmulNF4ForwardUniformParams struct {
	Tokens, FirstRow, EndRow, Cols4, YStride, YFirst, Packed, Bias                             uint32
	Offset                                                                                     float32
	CodesFirst, NestedFirst, FirstBlock, Shifts, FirstToken, FirstCol4, EndCol4, Span4, Halves uint32
}

type matmulNF4BackwardUniformParams struct {
	Tokens, Words, FirstRow, EndRow, WindowFirst, Packed                uint32
	Offset                                                              float32
	CodesFirst, NestedFirst, FirstBlock, Shifts, FirstToken, Accumulate uint32
}

var (
	matmulNF4ForwardUniform  = define("matmul_nf4_forward_uniform", "ruuuuw", matmulNF4ForwardUniformParams{})
	matmulNF4BackwardUniform = define("matmul_nf4_backward_uniform", "ruuuuw", matmulNF4BackwardUniformParams{})
)

func nf4Uniform(q int) variant[nf4Product] {
	return variant[nf4Product]{
		Variant: uniformVariant(matmulNF4ForwardUniform, "TILE_Q", q, 32), run: nf4Product.forwardByChunks,
	}.orElse(nf4Product.rowsInWindow, "registers_16x4")
}

func nf4BackwardUniform(w int) variant[nf4Product] {
	return variant[nf4Product]{Variant: uniformVariant(matmulNF4BackwardUniform, "TILE_W", w, 64), run: nf4Product.backwardByChunks}
}

// rowsInWindow: a workgroup's rows have their scales in one window.
func (p nf4Product) rowsInWindow(_ *gpu.Device, v *Variant) bool {
	return p.w.rowsOfCodes() >= v.outputs
}

// quadInWindow: four rows have.
func (p nf4Product) quadInWindow(*gpu.Device, *Variant) bool { return p.w.rowsOfCodes() >= 4 }

func (p nf4Product) wordsAndQuad(dev *gpu.Device, v *Variant) bool {
	return p.wordsShareScale(dev, v) && p.quadInWindow(dev, v)
}

// forwardByChunks has x and the scales in uniform arrays.
func (p nf4Product) forwardByChunks(rec *gpu.Recorder, v *Variant) {
	x, y, w := p.x, p.y, p.w
	packed := packChunks(rec, scratchWide, x)
	span := w.span()
	piece := w.rowsOfCodes() / v.outputs * v.outputs
	for _, s := range w.Shards {
		for row := 0; row < s.Rows; row += piece {
			end := min(row+piece, s.Rows)
			scales := w.scales(s, row)
			for chunk := 0; chunk*ChunkColumns < w.K; chunk++ {
				first, last := chunk*ChunkColumns, min((chunk+1)*ChunkColumns, w.K)
				for t := 0; t < x.Rows; t += ChunkTokens {
					spec, tokens := windowTile(v.spec(), x.Rows-t)
					rec.Dispatch(spec, ceilDiv(end-row, v.outputs), flops(tokens, end-row, last-first), matmulNF4ForwardUniformParams{
						Tokens: uint32(x.Rows), FirstRow: uint32(row), EndRow: uint32(end), Cols4: uint32(w.K / 4),
						YStride: uint32(w.N), YFirst: uint32(s.Row), Packed: s.Packed, Bias: s.Bias, Offset: s.Offset,
						CodesFirst: scales.codesFirst, NestedFirst: scales.nestedFirst, FirstBlock: s.FirstBlock, Shifts: w.shifts(),
						FirstToken: uint32(t), FirstCol4: uint32(first / 4), EndCol4: uint32(last / 4), Span4: uint32(span / 4), Halves: 2,
					}, s.Region, scales.maps, scales.codes, scales.nested, packed.window(chunk, t), y.Single())
				}
			}
		}
	}
}

// backwardByChunks has dy and the scales in uniform arrays. A chunk of dy's columns may reach over two shards of W.
func (p nf4Product) backwardByChunks(rec *gpu.Recorder, v *Variant) {
	dx, dy, w := p.x, p.y, p.w
	packed := packChunks(rec, scratchWide, dy)
	piece := w.rowsOfCodes() / 4 * 4
	for _, s := range w.Shards {
		for first := s.Row; first < s.Row+s.Rows; {
			chunk := first / ChunkColumns
			end := min((chunk+1)*ChunkColumns, s.Row+s.Rows, first+piece)
			scales := w.scales(s, first-s.Row)
			for t := 0; t < dx.Rows; t += ChunkTokens {
				spec, tokens := windowTile(v.spec(), dx.Rows-t)
				rec.Dispatch(spec, ceilDiv(w.K, v.outputs), flops(tokens, end-first, w.K), matmulNF4BackwardUniformParams{
					Tokens: uint32(dx.Rows), Words: uint32(w.K / 8), FirstRow: uint32(first - s.Row), EndRow: uint32(end - s.Row),
					WindowFirst: uint32(first - chunk*ChunkColumns), Packed: s.Packed, Offset: s.Offset,
					CodesFirst: scales.codesFirst, NestedFirst: scales.nestedFirst, FirstBlock: s.FirstBlock, Shifts: w.shifts(),
					FirstToken: uint32(t), Accumulate: flag(p.accumulate || first > 0),
				}, s.Region, scales.maps, scales.codes, scales.nested, packed.window(chunk, t), dx.Single())
			}
			first = end
		}
	}
}
