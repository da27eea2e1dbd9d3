package kernels

import "qlora-wgpu/gpu"

// The NF4 products with tiles in workgroup memory, for GPUs, and the largest tile in parts.

type matmulNF4ForwardTiledParams struct {
	Tokens, FirstToken, Padded16, Rows, Cols4, YStride, YFirst, Packed, Codes, Nested, Bias uint32
	Offset                                                                                  float32
	FirstBlock, Shifts, RowTiles, Span4, Part4, PartTiles                                   uint32
}

type matmulNF4BackwardTiledParams struct {
	Tokens, FirstToken, Padded16, Rows, Words, DyFirst, Packed, Codes, Nested uint32
	Offset                                                                    float32
	FirstBlock, Shifts, ColTiles, Accumulate, PartRows, PartTiles             uint32
}

var (
	matmulNF4ForwardTiled  = define("matmul_nf4_forward_tiled", "riw", matmulNF4ForwardTiledParams{})
	matmulNF4BackwardTiled = define("matmul_nf4_backward_tiled", "riw", matmulNF4BackwardTiledParams{})
)

var nf4Tiled = func() (variants []variant[nf4Product]) {
	for _, v := range inParts(matmulNF4ForwardTiled, blocksOfW) {
		tiled := variant[nf4Product]{Variant: v, run: nf4Product.forwardByTiles}
		variants = append(variants, tiled.orElse(nf4Product.inputInTiles, "registers_16x1"))
	}
	return variants
}()

var nf4BackwardTiled = func() (variants []variant[nf4Product]) {
	for _, v := range inParts(matmulNF4BackwardTiled, wordsOfW) {
		tiled := variant[nf4Product]{Variant: v, run: nf4Product.backwardByTiles}
		variants = append(variants, tiled.orElse(nf4Product.gradientInTiles, "registers_16x1"))
	}
	return variants
}()

// inputInTiles and gradientInTiles: a block of the activation that a product takes can be bound.
func (p nf4Product) inputInTiles(dev *gpu.Device, _ *Variant) bool    { return tilesFit(dev, p.w.K) }
func (p nf4Product) gradientInTiles(dev *gpu.Device, _ *Variant) bool { return tilesFit(dev, p.w.N) }

// forwardByTiles takes the variant's parts of K side by side.
func (p nf4Product) forwardByTiles(rec *gpu.Recorder, v *Variant) {
	x, y, w := p.x, p.y, p.w
	packed := packTiles(rec, x)
	out := y
	parts, columns := v.cut(rec.Device(), w.K, gpu.F32.Size(y.Rows*y.Cols))
	if parts > 1 {
		out = partsScratch(rec, parts, y)
	}
	for _, s := range w.Shards {
		rowTiles := ceilDiv(s.Rows, v.outputs)
		packed.pieces(func(first, tokens int, r gpu.Range) {
			tiles := rowTiles * ceilDiv(tokens, v.tokens)
			rec.Dispatch(v.spec(), parts*tiles, flops(tokens, s.Rows, w.K), matmulNF4ForwardTiledParams{
				Tokens: uint32(x.Rows), FirstToken: uint32(first), Padded16: uint32(packed.padded16), Rows: uint32(s.Rows),
				Cols4: uint32(w.K / 4), YStride: uint32(w.N), YFirst: uint32(s.Row),
				Packed: s.Packed, Codes: s.Codes, Nested: s.Nested, Bias: s.Bias, Offset: s.Offset, FirstBlock: s.FirstBlock,
				Shifts: w.shifts(), RowTiles: uint32(rowTiles), Span4: uint32(w.span() / 4),
				Part4: uint32(columns / 4), PartTiles: uint32(tiles),
			}, s.Region, r, out.Single())
		})
	}
	if parts > 1 {
		SumParts(rec, y, out, false)
	}
}

// backwardByTiles takes the variant's parts of W's rows side by side. A weight in shards, each of which adds to dx, is
// not cut further.
func (p nf4Product) backwardByTiles(rec *gpu.Recorder, v *Variant) {
	dx, dy, w := p.x, p.y, p.w
	packed := packTiles(rec, dy)
	colTiles := ceilDiv(w.K, v.outputs)
	out, parts, rows := dx, 1, w.N
	if len(w.Shards) == 1 {
		parts, rows = v.cut(rec.Device(), w.N, gpu.F32.Size(dx.Rows*dx.Cols))
	}
	if parts > 1 {
		out = partsScratch(rec, parts, dx)
	}
	for i, s := range w.Shards {
		packed.pieces(func(first, tokens int, r gpu.Range) {
			tiles := colTiles * ceilDiv(tokens, v.tokens)
			rec.Dispatch(v.spec(), parts*tiles, flops(tokens, s.Rows, w.K), matmulNF4BackwardTiledParams{
				Tokens: uint32(dx.Rows), FirstToken: uint32(first), Padded16: uint32(packed.padded16), Rows: uint32(s.Rows),
				Words: uint32(w.K / 8), DyFirst: uint32(s.Row), Packed: s.Packed, Codes: s.Codes, Nested: s.Nested, Offset: s.Offset,
				FirstBlock: s.FirstBlock, Shifts: w.shifts(), ColTiles: uint32(colTiles),
				Accumulate: flag(parts == 1 && (p.accumulate || i > 0)), PartRows: uint32(rows), PartTiles: uint32(tiles),
			}, s.Region, r, out.Single())
		})
	}
	if parts > 1 {
		SumParts(rec, dx, out, p.accumulate)
	}
}
