package kernels

import "qlora-wgpu/gpu"

// The products with tiles in registers, for CPU devices and for few tokens.

type matmulForwardParams struct {
	Tokens, Rows, Cols4, YStride, YFirst, RowTiles, Accumulate uint32
	Alpha                                                      float32
}

type matmulBackwardParams struct {
	Tokens, Rows, Cols4, DyStride4, DyFirst4, ColTiles, Accumulate uint32
	Alpha                                                          float32
}

type matmulGradientParams struct {
	Tokens, Rows4, Cols4, ColTiles uint32
	Alpha                          float32
}

var (
	matmulForwardRegisters  = define("matmul_forward_registers", "iiw", matmulForwardParams{})
	matmulBackwardRegisters = define("matmul_backward_registers", "iiw", matmulBackwardParams{})
	matmulGradientRegisters = define("matmul_gradient_registers", "iiw", matmulGradientParams{})
)

// registers is the variant of a shader by so many tokens and units of 32 outputs an invocation.
func registers(s *shader, t int, unit string, n int, run func(p product, rec *gpu.Recorder, v *Variant)) variant[product] {
	return variant[product]{Variant: Variant{
		Name: registersName(t, n), Tolerance: productTolerance, made: cpus, parts: 1, shaders: []*shader{s},
		constants: map[string]uint32{"TILE_T": uint32(t), unit: uint32(n)}, tokens: t, outputs: 32 * n,
	}, run: run}
}

func forwardRegisters(t, q int) variant[product] {
	return registers(matmulForwardRegisters, t, "TILE_Q", q, product.forwardByShards)
}

func backwardRegisters(t, k int) variant[product] {
	return registers(matmulBackwardRegisters, t, "TILE_K", k, product.backwardByRegisters)
}

func gradientRegisters(n, k int) variant[product] {
	return variant[product]{Variant: Variant{
		Name: registersName(n, k), Tolerance: productTolerance, made: cpus, parts: 1, shaders: []*shader{matmulGradientRegisters},
		constants: map[string]uint32{"TILE_N": uint32(n), "TILE_K": uint32(k)}, tokens: 4 * n, outputs: 32 * k,
	}, run: product.gradientByRegisters}
}

// forwardByShards takes a whole shard of w at once, as the kernels for single tokens do too.
func (p product) forwardByShards(rec *gpu.Recorder, v *Variant) {
	x, y, w := p.x, p.y, p.w
	spec := v.specFor(w)
	for _, s := range w.Shards {
		rowTiles := ceilDiv(s.Rows, v.outputs)
		rec.Dispatch(spec, rowTiles*ceilDiv(x.Rows, v.tokens), flops(x.Rows, s.Rows, w.Cols), matmulForwardParams{
			Tokens: uint32(x.Rows), Rows: uint32(s.Rows), Cols4: uint32(x.Cols / 4), YStride: uint32(y.Cols), YFirst: uint32(s.Row),
			RowTiles: uint32(rowTiles), Accumulate: flag(p.accumulate), Alpha: p.alpha,
		}, x.Single(), s.Range, y.Single())
	}
}

// backwardRows is how many rows a dispatch sums over: a multiple of 256, where a cut changes no byte. Software Vulkan
// ends the loops of an invocation after 65,535 rounds, inner and outer ones counted together, and tells nobody; over a
// vocabulary of 49,152 rows the larger tile in workgroup memory takes more.
const backwardRows = 1 << 14

// eachRows calls record for every piece of at most so many of w's rows; first counts over all of w.
func (p product) eachRows(most int, record func(first, rows int, piece gpu.Range)) {
	w := p.w
	for _, s := range w.Shards {
		for first := s.Row; first < s.Row+s.Rows; first += most {
			rows := min(most, s.Row+s.Rows-first)
			record(first, rows, gpu.Range{
				Buffer: s.Range.Buffer, Offset: s.Range.Offset + w.DType.Size((first-s.Row)*w.Cols), Size: w.DType.Size(rows * w.Cols),
			})
		}
	}
}

func (p product) backwardByRegisters(rec *gpu.Recorder, v *Variant) {
	dx, dy, w := p.x, p.y, p.w
	spec := v.specFor(w)
	colTiles := ceilDiv(w.Cols, v.outputs)
	p.eachRows(backwardRows, func(first, rows int, piece gpu.Range) {
		rec.Dispatch(spec, colTiles*ceilDiv(dx.Rows, v.tokens), flops(dx.Rows, rows, w.Cols), matmulBackwardParams{
			Tokens: uint32(dx.Rows), Rows: uint32(rows), Cols4: uint32(w.Cols / 4), DyStride4: uint32(dy.Cols / 4), DyFirst4: uint32(first / 4),
			ColTiles: uint32(colTiles), Accumulate: flag(p.accumulate || first > 0), Alpha: p.alpha,
		}, dy.Single(), piece, dx.Single())
	})
}

func (p product) gradientByRegisters(rec *gpu.Recorder, v *Variant) {
	dw, dy, x := p.w, p.y, p.x
	colTiles := ceilDiv(dw.Cols, v.outputs)
	rec.Dispatch(v.spec(), colTiles*ceilDiv(dw.Rows, v.tokens), flops(dy.Rows, dw.Rows, dw.Cols), matmulGradientParams{
		Tokens: uint32(dy.Rows), Rows4: uint32(dw.Rows / 4), Cols4: uint32(dw.Cols / 4), ColTiles: uint32(colTiles), Alpha: p.alpha,
	}, dy.Single(), x.Single(), dw.Single())
}
