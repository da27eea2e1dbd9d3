package kernels

import (
	"fmt"

	"qlora-wgpu/gpu"
)

// For GPUs the products have variants with tiles in workgroup memory.

// tile is what a workgroup of tx × ty invocations owns, each 4·rows4 tokens × 4·cols4 outputs.
type tile struct{ tx, ty, rows4, cols4 int }

func (t tile) tokens() int  { return 4 * t.ty * t.rows4 }
func (t tile) outputs() int { return 4 * t.tx * t.cols4 }

func (t tile) name() string {
	return fmt.Sprintf("tiled_%dx%d", t.tokens(), t.outputs())
}

// constants are those of a kernel of which an invocation brings so many of the elements of W in a step; 16 vec4 of W make one.
func (t tile) constants(brings int) map[string]uint32 {
	lanes := t.tx * t.ty
	return map[string]uint32{
		"TX": uint32(t.tx), "TY": uint32(t.ty), "LANES": uint32(lanes), "ROWS4": uint32(t.rows4), "COLS4": uint32(t.cols4), "XR": uint32(t.tokens() / 4), "WR": uint32(t.outputs() / 4),
		"XB": uint32(4 * t.tokens() / lanes), "WB": uint32(ceilDiv(brings*t.outputs()/4, lanes)),
	}
}

// What a step of 16 brings of a vec4 of outputs.
const (
	blocksOfW = 4  // of 4 × 4
	wordsOfW  = 8  // of 8 codes
	vec4OfW   = 16 // of 4 columns
)

func tiled(shader *op, brings int, tiles ...tile) (variants []variant) {
	for _, t := range tiles {
		variants = append(variants, variant{t.name(), shader, t.constants(brings), t.tokens(), t.outputs(), 1})
	}
	return variants
}

// forwardTiled are those of the plain forward product. Only the thin one sums in parts: with many outputs a sum in one go is as good, and K is rarely long.
var forwardTiled = append(tiled(matmulForwardTiled, blocksOfW, wideTiles...), variant{
	thinTile.name(), matmulForwardTiled, with(thinTile.constants(blocksOfW), "SUM", sumOf), thinTile.tokens(), thinTile.outputs(), 1,
})

var (
	smallTile = tile{8, 8, 1, 1}
	thinTile  = tile{4, 16, 1, 1} // for LoRA's rank
	wideTiles = []tile{smallTile, {8, 8, 2, 2}, {8, 16, 2, 2}}
)

// tiledFallback is the tile for so many tokens and outputs, before anything was measured.
func tiledFallback(tokens int) string {
	if tokens <= 32 {
		return smallTile.name()
	}
	return wideTiles[1].name()
}

// thinOr is the fallback for a plain product with so many outputs.
func thinOr(outputs, tokens int) string {
	if outputs <= 32 {
		return thinTile.name()
	}
	return tiledFallback(tokens)
}

// Where a product has fewer workgroups than fillGroups, what it sums over is cut into parts of sumOf, as far as all parts' sums fit partsBytes. That changes no byte: the sums are then added
// up as a workgroup that takes them all does.
const (
	sumOf      = 256
	partsBytes = 16 << 20
)

var fillGroups = 512

// partsOf is how many parts at once something of so many sums and so many output bytes is cut into; 1: it is not. A chunk without tokens has no groups and no bytes.
func partsOf(groups, sums int, bytes int64) int {
	if groups >= fillGroups || sums < 2 || groups == 0 {
		return 1
	}
	return max(1, min(sums, int(partsBytes/bytes)))
}

// inParts are the wide tiles, and the largest with its sums cut into parts: where the tiles are not enough to keep a GPU busy to the end, they are so many times more, and shorter.
func inParts(shader *op, brings int) []variant {
	variants := tiled(shader, brings, wideTiles...)
	largest := variants[len(variants)-1]
	for _, parts := range []int{3, 8} {
		v := largest
		v.name, v.parts = fmt.Sprintf("%s_parts_%d", v.name, parts), parts
		variants = append(variants, v)
	}
	return variants
}

// partStep is what parts are multiples of: the most columns of a row that share one absmax.
const partStep = 64

// cut is into how many parts the variant cuts sums of so many products, and how much of them each part but the last has. It does not cut short ones, nor where the parts of an output of so many bytes
// cannot be bound together.
func (v variant) cut(dev *gpu.Device, sum int, output int64) (parts, each int) {
	if v.parts == 1 || sum < v.parts*partStep || int64(v.parts)*output > dev.Limits.MaxBindingBytes {
		return 1, sum
	}
	each = ceilDiv(ceilDiv(sum, v.parts), partStep) * partStep
	return ceilDiv(sum, each), each
}

// partsScratch is a scratch for so many parts of a tensor.
func partsScratch(rec *gpu.Recorder, parts int, of *gpu.Tensor) *gpu.Tensor {
	b := rec.UniformScratch(scratchParts, int64(parts)*gpu.F32.Size(of.Rows*of.Cols))
	return (&gpu.Tensor{Name: b.Label, Shards: []gpu.Shard{{Range: b.All()}}}).View(parts*of.Rows, of.Cols)
}

type matmulForwardTiledParams struct {
	Tokens, FirstToken, Padded16, Rows, Cols4, YStride, YFirst, RowTiles, Accumulate, FirstCol4, EndCol4, Part4, PartTiles uint32
	Alpha                                                                                                                  float32
}

var matmulForwardTiled = define("matmul_forward_tiled", "iiw", matmulForwardTiledParams{})

// matmulForwardTiles is the forward product by tiles in workgroup memory. For a thin one the parts of K that it sums are taken side by side.
func matmulForwardTiles(rec *gpu.Recorder, y, x, w *gpu.Tensor, v variant, alpha float32, accumulate bool) {
	spec := v.shader.spec(with(v.constants, "BF16", flag(w.DType == gpu.BF16)))
	packed := packTiles(rec, x)
	side := 1 // parts side by side
	if v.constants["SUM"] == sumOf && len(w.Shards) == 1 {
		side = partsOf(ceilDiv(x.Rows, v.tokens)*ceilDiv(w.Rows, v.outputs), ceilDiv(w.Cols, sumOf), gpu.F32.Size(x.Rows*y.Cols))
	}
	for _, s := range w.Shards {
		rowTiles := ceilDiv(s.Rows, v.outputs)
		p := matmulForwardTiledParams{
			Tokens: uint32(x.Rows), Padded16: uint32(packed.padded16), Rows: uint32(s.Rows), Cols4: uint32(x.Cols / 4), YStride: uint32(y.Cols), YFirst: uint32(s.Row),
			RowTiles: uint32(rowTiles), Accumulate: flag(accumulate), EndCol4: uint32(x.Cols / 4), Part4: uint32(x.Cols / 4), Alpha: alpha,
		}
		if side == 1 {
			packed.pieces(func(first, tokens int, r gpu.Range) {
				tiles := rowTiles * ceilDiv(tokens, v.tokens)
				p.FirstToken, p.PartTiles = uint32(first), uint32(tiles)
				rec.Dispatch(spec, tiles, int64(2*tokens)*int64(s.Rows)*int64(w.Cols), p, r, s.Range, y.Single())
			})
			continue
		}
		all := partsScratch(rec, side, y)
		p.Accumulate, p.Part4 = 0, sumOf/4
		for column := 0; column < w.Cols; column += side * sumOf {
			end := min(column+side*sumOf, w.Cols)
			parts := ceilDiv(end-column, sumOf)
			p.FirstCol4, p.EndCol4 = uint32(column/4), uint32(end/4)
			packed.pieces(func(first, tokens int, r gpu.Range) {
				tiles := rowTiles * ceilDiv(tokens, v.tokens)
				p.FirstToken, p.PartTiles = uint32(first), uint32(tiles)
				rec.Dispatch(spec, parts*tiles, int64(2*tokens)*int64(s.Rows)*int64(end-column), p, r, s.Range, all.Single())
			})
			SumParts(rec, y, all.View(parts*y.Rows, y.Cols), accumulate || column > 0)
		}
	}
}

type matmulBackwardTiledParams struct {
	Tokens, FirstToken, Padded16, Rows, Cols4, DyFirst, ColTiles, Accumulate, Part4, PartTiles uint32
	Alpha                                                                                      float32
}

var matmulBackwardTiled = define("matmul_backward_tiled", "iiw", matmulBackwardTiledParams{})

// matmulBackwardTiles is the input's gradient by tiles in workgroup memory, with the parts of rows that it sums side by side where it has few tiles.
func matmulBackwardTiles(rec *gpu.Recorder, dx, dy, w *gpu.Tensor, v variant, alpha float32, accumulate bool) {
	spec := v.shader.spec(with(v.constants, "BF16", flag(w.DType == gpu.BF16)))
	packed := packTiles(rec, dy)
	colTiles := ceilDiv(w.Cols, v.outputs)
	side := partsOf(colTiles*ceilDiv(dx.Rows, v.tokens), ceilDiv(w.Rows, sumOf), gpu.F32.Size(dx.Rows*dx.Cols))
	each := backwardRows
	if side > 1 {
		each = side * sumOf
	}
	for _, s := range w.Shards {
		for row := s.Row; row < s.Row+s.Rows; row += each {
			rows := min(each, s.Row+s.Rows-row)
			part := gpu.Range{Buffer: s.Range.Buffer, Offset: s.Range.Offset + w.DType.Size((row-s.Row)*w.Cols), Size: w.DType.Size(rows * w.Cols)}
			p := matmulBackwardTiledParams{
				Tokens: uint32(dx.Rows), Padded16: uint32(packed.padded16), Rows: uint32(rows), Cols4: uint32(w.Cols / 4), DyFirst: uint32(row),
				ColTiles: uint32(colTiles), Accumulate: flag(accumulate || row > 0), Part4: uint32(rows / 4), Alpha: alpha,
			}
			out, parts := dx, 1
			if side > 1 {
				out, parts = partsScratch(rec, side, dx), ceilDiv(rows, sumOf)
				p.Accumulate, p.Part4 = 0, sumOf/4
			}
			packed.pieces(func(first, tokens int, r gpu.Range) {
				tiles := colTiles * ceilDiv(tokens, v.tokens)
				p.FirstToken, p.PartTiles = uint32(first), uint32(tiles)
				rec.Dispatch(spec, parts*tiles, int64(2*tokens)*int64(rows)*int64(w.Cols), p, r, part, out.Single())
			})
			if side > 1 {
				SumParts(rec, dx, out.View(parts*dx.Rows, dx.Cols), accumulate || row > 0)
			}
		}
	}
}

type matmulNF4ForwardTiledParams struct {
	Tokens, FirstToken, Padded16, Rows, Cols4, YStride, YFirst, Packed, Codes, Nested, Bias uint32
	Offset                                                                                  float32
	FirstBlock, BlockShift, RowTiles, Span4, Part4, PartTiles                               uint32
}

var matmulNF4ForwardTiled = define("matmul_nf4_forward_tiled", "riw", matmulNF4ForwardTiledParams{})

// matmulNF4ForwardTiles is the forward product by tiles in workgroup memory, with the variant's parts of K side by side.
func matmulNF4ForwardTiles(rec *gpu.Recorder, y, x *gpu.Tensor, w *NF4Weight, v variant) {
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
			rec.Dispatch(v.shader.spec(v.constants), parts*tiles, int64(2*tokens)*int64(s.Rows)*int64(w.K), matmulNF4ForwardTiledParams{
				Tokens: uint32(x.Rows), FirstToken: uint32(first), Padded16: uint32(packed.padded16), Rows: uint32(s.Rows), Cols4: uint32(w.K / 4), YStride: uint32(w.N), YFirst: uint32(s.Row),
				Packed: s.Packed, Codes: s.Codes, Nested: s.Nested, Bias: s.Bias, Offset: s.Offset, FirstBlock: s.FirstBlock,
				BlockShift: blockShift(w.BlockSize), RowTiles: uint32(rowTiles), Span4: uint32(w.span() / 4), Part4: uint32(columns / 4), PartTiles: uint32(tiles),
			}, s.Region, r, out.Single())
		})
	}
	if parts > 1 {
		SumParts(rec, y, out, false)
	}
}

type matmulNF4BackwardTiledParams struct {
	Tokens, FirstToken, Padded16, Rows, Words, DyFirst, Packed, Codes, Nested uint32
	Offset                                                                    float32
	FirstBlock, BlockShift, ColTiles, Accumulate, PartRows, PartTiles         uint32
}

var matmulNF4BackwardTiled = define("matmul_nf4_backward_tiled", "riw", matmulNF4BackwardTiledParams{})

// matmulNF4BackwardTiles is the input's gradient by tiles in workgroup memory, with the variant's parts of W's rows side by side. A weight in shards, each of which adds to dx, is
// not cut further.
func matmulNF4BackwardTiles(rec *gpu.Recorder, dx, dy *gpu.Tensor, w *NF4Weight, v variant, accumulate bool) {
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
			rec.Dispatch(v.shader.spec(v.constants), parts*tiles, int64(2*tokens)*int64(s.Rows)*int64(w.K), matmulNF4BackwardTiledParams{
				Tokens: uint32(dx.Rows), FirstToken: uint32(first), Padded16: uint32(packed.padded16), Rows: uint32(s.Rows), Words: uint32(w.K / 8), DyFirst: uint32(s.Row),
				Packed: s.Packed, Codes: s.Codes, Nested: s.Nested, Offset: s.Offset, FirstBlock: s.FirstBlock,
				BlockShift: blockShift(w.BlockSize), ColTiles: uint32(colTiles), Accumulate: flag(parts == 1 && (accumulate || i > 0)), PartRows: uint32(rows), PartTiles: uint32(tiles),
			}, s.Region, r, out.Single())
		})
	}
	if parts > 1 {
		SumParts(rec, dx, out, accumulate)
	}
}

type matmulGradientTiledParams struct {
	Tokens, Rows4, Cols4, ColTiles, Accumulate, FirstToken, Part, PartTiles uint32
	Alpha                                                                   float32
}

var matmulGradientTiled = define("matmul_gradient_tiled", "iiw", matmulGradientTiledParams{})

// gradientTiled is the variant with 4·ty rows × 4·tx columns a workgroup.
func gradientTiled(tx, ty int) variant {
	t := tile{tx, ty, 1, 1}
	lanes := tx * ty
	return variant{t.name(), matmulGradientTiled, map[string]uint32{
		"TX": uint32(tx), "TY": uint32(ty), "LANES": uint32(lanes), "XB": uint32(ceilDiv(16*ty, lanes)), "WB": uint32(ceilDiv(16*tx, lanes)),
	}, t.tokens(), t.outputs(), 1}
}

// gradientTiledFallback is the one that suits the longer side of dw.
func gradientTiledFallback(n, k int) string {
	if n > k {
		return gradientTiled(4, 16).name
	}
	return gradientTiled(16, 4).name
}

// matmulGradientTiles is the gradient of a LoRA matrix by tiles in workgroup memory, with the parts of tokens that it sums side by side where it has few tiles.
func matmulGradientTiles(rec *gpu.Recorder, dw, dy, x *gpu.Tensor, v variant, alpha float32) {
	spec := v.shader.spec(v.constants)
	colTiles := ceilDiv(dw.Cols, v.outputs)
	tiles := colTiles * ceilDiv(dw.Rows, v.tokens)
	p := matmulGradientTiledParams{
		Tokens: uint32(dy.Rows), Rows4: uint32(dw.Rows / 4), Cols4: uint32(dw.Cols / 4), ColTiles: uint32(colTiles), Accumulate: 1,
		Part: uint32(dy.Rows), PartTiles: uint32(tiles), Alpha: alpha,
	}
	side := partsOf(tiles, ceilDiv(dy.Rows, sumOf), gpu.F32.Size(dw.Rows*dw.Cols))
	if side == 1 {
		rec.Dispatch(spec, tiles, int64(2*dy.Rows)*int64(dw.Rows)*int64(dw.Cols), p, dy.Single(), x.Single(), dw.Single())
		return
	}
	p.Accumulate, p.Part = 0, sumOf
	all := partsScratch(rec, side, dw)
	for first := 0; first < dy.Rows; first += side * sumOf {
		tokens := min(side*sumOf, dy.Rows-first)
		parts := ceilDiv(tokens, sumOf)
		p.FirstToken = uint32(first)
		rec.Dispatch(spec, parts*tiles, int64(2*tokens)*int64(dw.Rows)*int64(dw.Cols), p, dy.Single(), x.Single(), all.Single())
		SumParts(rec, dw, all.View(parts*dw.Rows, dw.Cols), true)
	}
}
