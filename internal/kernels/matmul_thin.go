package kernels

import "qlora-wgpu/gpu"

// The products of LoRA that sum over the rank read both operands through uniform arrays on CPU devices; what they cost
// is then reading and writing the wide result.

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

// thinVariant is a shader over 16 tokens × 64 outputs, in units of 32.
func thinVariant(s *shader, constant string) Variant {
	const tokens, units = 16, 2
	return Variant{
		Name: "uniform_thin", Tolerance: productTolerance, made: cpus, outgrown: true, parts: 1, storage: f32, shaders: []*shader{s},
		constants: map[string]uint32{"TILE_T": tokens, constant: units}, tokens: tokens, outputs: 32 * units,
	}
}

var (
	forwardThin = variant[product]{
		Variant: thinVariant(matmulForwardThin, "TILE_Q"), run: product.forwardByThinPieces,
	}.orElse(product.rowsInFours, "registers_16x1")
	backwardThin = variant[product]{
		Variant: thinVariant(matmulBackwardThin, "TILE_K"), run: product.backwardByThinPieces,
	}.orElse(product.thinInWindows, "registers_16x1")
)

// rowsInFours: w's rows come in fours, some of which lie in one window, and a few tokens of x in another.
func (p product) rowsInFours(dev *gpu.Device, v *Variant) bool {
	return p.w.Rows%4 == 0 && p.rowsInWindow(dev, v)
}

// thinInWindows: some rows of w lie in one window, and a token of dy in another.
func (p product) thinInWindows(dev *gpu.Device, v *Variant) bool {
	return p.rowsInWindow(dev, v) && p.y.Cols <= windowElements
}

// thinWindows calls record for each piece of the tokens of x and the window in which they lie.
func thinWindows(rec *gpu.Recorder, x *gpu.Tensor, record func(first, tokens int, window gpu.Range, first4 uint32)) {
	whole := copied(rec, x)
	piece := windowElements / x.Cols
	for first := 0; first < x.Rows; first += piece {
		window, skip := whole.UniformWindow(gpu.F32.Size(first * x.Cols))
		record(first, min(piece, x.Rows-first), window, uint32(skip/16))
	}
}

// rowWindows calls record for each piece of w's rows, counted in w, and the window in which they lie.
func (p product) rowWindows(record func(row, rows int, window gpu.Range, first4 uint32)) {
	w := p.w
	piece := windowElements / w.Cols / 4 * 4
	for _, s := range w.Shards {
		for row := 0; row < s.Rows; row += piece {
			window, skip := s.Range.Buffer.UniformWindow(s.Range.Offset + gpu.F32.Size(row*w.Cols))
			record(s.Row+row, min(piece, s.Rows-row), window, uint32(skip/16))
		}
	}
}

// forwardByThinPieces has x and w in uniform arrays.
func (p product) forwardByThinPieces(rec *gpu.Recorder, v *Variant) {
	y, w := p.y, p.w
	thinWindows(rec, p.x, func(t, tokens int, xs gpu.Range, x4 uint32) {
		p.rowWindows(func(row, rows int, ws gpu.Range, w4 uint32) {
			tiles := ceilDiv(rows, v.outputs)
			rec.Dispatch(v.spec(), tiles*ceilDiv(tokens, v.tokens), flops(tokens, rows, w.Cols), matmulForwardThinParams{
				Tokens: uint32(tokens), FirstToken: uint32(t), XFirst4: x4, K4: uint32(w.Cols / 4), Rows4: uint32(rows / 4), WFirst4: w4,
				YStride4: uint32(y.Cols / 4), YFirst4: uint32(row / 4), RowTiles: uint32(tiles), Accumulate: flag(p.accumulate), Alpha: p.alpha,
			}, xs, ws, y.Single())
		})
	})
}

// backwardByThinPieces has dy and w in uniform arrays.
func (p product) backwardByThinPieces(rec *gpu.Recorder, v *Variant) {
	dx, dy, w := p.x, p.y, p.w
	tiles := ceilDiv(w.Cols, v.outputs)
	thinWindows(rec, dy, func(t, tokens int, dys gpu.Range, dy4 uint32) {
		p.rowWindows(func(row, rows int, ws gpu.Range, w4 uint32) {
			rec.Dispatch(v.spec(), tiles*ceilDiv(tokens, v.tokens), flops(tokens, rows, w.Cols), matmulBackwardThinParams{
				Tokens: uint32(tokens), FirstToken: uint32(t), DyFirst4: dy4, DyStride4: uint32(dy.Cols / 4),
				Rows4: uint32(rows / 4), DyColumn4: uint32(row / 4), WFirst4: w4, Cols4: uint32(w.Cols / 4), ColTiles: uint32(tiles),
				Accumulate: flag(p.accumulate || row > 0), Alpha: p.alpha,
			}, dys, ws, dx.Single())
		})
	})
}
