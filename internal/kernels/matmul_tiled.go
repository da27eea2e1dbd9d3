package kernels

import "qlora-wgpu/gpu"

// For GPUs the products have variants with tiles in workgroup memory. Here are the plain ones; see matmul_nf4_tiled.go
// and, for what they have in common, tile.go.

type matmulForwardTiledParams struct {
	Tokens, FirstToken, Padded16, Rows, Cols4, YStride, YFirst, RowTiles, Accumulate uint32
	FirstCol4, EndCol4, Part4, PartTiles                                             uint32
	Alpha                                                                            float32
}

type matmulBackwardTiledParams struct {
	Tokens, FirstToken, Padded16, Rows, Cols4, DyFirst, ColTiles, Accumulate, Part4, PartTiles uint32
	Alpha                                                                                      float32
}

type matmulGradientTiledParams struct {
	Tokens, Rows4, Cols4, ColTiles, Accumulate, FirstToken, Part, PartTiles uint32
	Alpha                                                                   float32
}

var (
	matmulForwardTiled  = define("matmul_forward_tiled", "iiw", matmulForwardTiledParams{})
	matmulBackwardTiled = define("matmul_backward_tiled", "iiw", matmulBackwardTiledParams{})
	matmulGradientTiled = define("matmul_gradient_tiled", "iiw", matmulGradientTiledParams{})
)

// forwardTiled are those of the plain forward product. Only the thin one sums in parts: with many outputs a sum in one
// go is as good, and K is rarely long.
var forwardTiled = func() (variants []variant[product]) {
	for _, t := range append(wideTiles[:len(wideTiles):len(wideTiles)], thinTile) {
		v := variant[product]{Variant: t.variant(matmulForwardTiled, blocksOfW), run: product.forwardByTiles}
		if t == thinTile {
			v.constants = with(v.constants, "SUM", sumOf)
		}
		variants = append(variants, v.orElse(product.inputInTiles, "registers_16x1"))
	}
	return variants
}()

var backwardTiled = func() (variants []variant[product]) {
	for _, t := range append(wideTiles[:len(wideTiles):len(wideTiles)], thinTile) {
		v := variant[product]{Variant: t.variant(matmulBackwardTiled, vec4OfW), run: product.backwardByTiles}
		variants = append(variants, v.orElse(product.gradientInTiles, "registers_16x1"))
	}
	return variants
}()

// gradientTiled is the variant with 4·ty rows × 4·tx columns a workgroup.
func gradientTiled(tx, ty int) variant[product] {
	t := tile{tx, ty, 1, 1}
	v := variant[product]{Variant: t.variant(matmulGradientTiled, blocksOfW), run: product.gradientByTiles}
	lanes := tx * ty
	v.constants = map[string]uint32{
		"TX": uint32(tx), "TY": uint32(ty), "LANES": uint32(lanes), "XB": uint32(ceilDiv(16*ty, lanes)), "WB": uint32(ceilDiv(16*tx, lanes)),
	}
	return v
}

// inputInTiles and gradientInTiles: a block of the activation that a product takes can be bound.
func (p product) inputInTiles(dev *gpu.Device, _ *Variant) bool    { return tilesFit(dev, p.x.Cols) }
func (p product) gradientInTiles(dev *gpu.Device, _ *Variant) bool { return tilesFit(dev, p.y.Cols) }

// forwardByTiles takes the parts of K that a thin product sums side by side.
func (p product) forwardByTiles(rec *gpu.Recorder, v *Variant) {
	x, y, w := p.x, p.y, p.w
	spec := v.specFor(w)
	packed := packTiles(rec, x)
	side := 1 // parts side by side
	if v.constants["SUM"] == sumOf && len(w.Shards) == 1 {
		groups := ceilDiv(x.Rows, v.tokens) * ceilDiv(w.Rows, v.outputs)
		side = partsOf(groups, ceilDiv(w.Cols, sumOf), gpu.F32.Size(x.Rows*y.Cols))
	}
	for _, s := range w.Shards {
		rowTiles := ceilDiv(s.Rows, v.outputs)
		params := matmulForwardTiledParams{
			Tokens: uint32(x.Rows), Padded16: uint32(packed.padded16), Rows: uint32(s.Rows), Cols4: uint32(x.Cols / 4),
			YStride: uint32(y.Cols), YFirst: uint32(s.Row), RowTiles: uint32(rowTiles), Accumulate: flag(p.accumulate),
			EndCol4: uint32(x.Cols / 4), Part4: uint32(x.Cols / 4), Alpha: p.alpha,
		}
		record := func(out *gpu.Tensor, parts, columns int) {
			packed.pieces(func(first, tokens int, r gpu.Range) {
				tiles := rowTiles * ceilDiv(tokens, v.tokens)
				params.FirstToken, params.PartTiles = uint32(first), uint32(tiles)
				rec.Dispatch(spec, parts*tiles, flops(tokens, s.Rows, columns), params, r, s.Range, out.Single())
			})
		}
		if side == 1 {
			record(y, 1, w.Cols)
			continue
		}
		all := partsScratch(rec, side, y)
		params.Accumulate, params.Part4 = 0, sumOf/4
		for column := 0; column < w.Cols; column += side * sumOf {
			end := min(column+side*sumOf, w.Cols)
			parts := ceilDiv(end-column, sumOf)
			params.FirstCol4, params.EndCol4 = uint32(column/4), uint32(end/4)
			record(all, parts, end-column)
			SumParts(rec, y, all.View(parts*y.Rows, y.Cols), p.accumulate || column > 0)
		}
	}
}

// backwardByTiles takes the parts of rows that it sums side by side where it has few tiles.
func (p product) backwardByTiles(rec *gpu.Recorder, v *Variant) {
	dx, dy, w := p.x, p.y, p.w
	spec := v.specFor(w)
	packed := packTiles(rec, dy)
	colTiles := ceilDiv(w.Cols, v.outputs)
	side := partsOf(colTiles*ceilDiv(dx.Rows, v.tokens), ceilDiv(w.Rows, sumOf), gpu.F32.Size(dx.Rows*dx.Cols))
	each := backwardRows
	if side > 1 {
		each = side * sumOf
	}
	p.eachRows(each, func(row, rows int, piece gpu.Range) {
		params := matmulBackwardTiledParams{
			Tokens: uint32(dx.Rows), Padded16: uint32(packed.padded16), Rows: uint32(rows), Cols4: uint32(w.Cols / 4), DyFirst: uint32(row),
			ColTiles: uint32(colTiles), Accumulate: flag(p.accumulate || row > 0), Part4: uint32(rows / 4), Alpha: p.alpha,
		}
		out, parts := dx, 1
		if side > 1 {
			out, parts = partsScratch(rec, side, dx), ceilDiv(rows, sumOf)
			params.Accumulate, params.Part4 = 0, sumOf/4
		}
		packed.pieces(func(first, tokens int, r gpu.Range) {
			tiles := colTiles * ceilDiv(tokens, v.tokens)
			params.FirstToken, params.PartTiles = uint32(first), uint32(tiles)
			rec.Dispatch(spec, parts*tiles, flops(tokens, rows, w.Cols), params, r, piece, out.Single())
		})
		if side > 1 {
			SumParts(rec, dx, out.View(parts*dx.Rows, dx.Cols), p.accumulate || row > 0)
		}
	})
}

// gradientByTiles takes the parts of tokens that it sums side by side where it has few tiles.
func (p product) gradientByTiles(rec *gpu.Recorder, v *Variant) {
	dw, dy, x := p.w, p.y, p.x
	spec := v.spec()
	colTiles := ceilDiv(dw.Cols, v.outputs)
	tiles := colTiles * ceilDiv(dw.Rows, v.tokens)
	params := matmulGradientTiledParams{
		Tokens: uint32(dy.Rows), Rows4: uint32(dw.Rows / 4), Cols4: uint32(dw.Cols / 4), ColTiles: uint32(colTiles), Accumulate: 1,
		Part: uint32(dy.Rows), PartTiles: uint32(tiles), Alpha: p.alpha,
	}
	side := partsOf(tiles, ceilDiv(dy.Rows, sumOf), gpu.F32.Size(dw.Rows*dw.Cols))
	if side == 1 {
		rec.Dispatch(spec, tiles, flops(dy.Rows, dw.Rows, dw.Cols), params, dy.Single(), x.Single(), dw.Single())
		return
	}
	params.Accumulate, params.Part = 0, sumOf
	all := partsScratch(rec, side, dw)
	for first := 0; first < dy.Rows; first += side * sumOf {
		tokens := min(side*sumOf, dy.Rows-first)
		parts := ceilDiv(tokens, sumOf)
		params.FirstToken = uint32(first)
		rec.Dispatch(spec, parts*tiles, flops(tokens, dw.Rows, dw.Cols), params, dy.Single(), x.Single(), all.Single())
		SumParts(rec, dw, all.View(parts*dw.Rows, dw.Cols), true)
	}
}
