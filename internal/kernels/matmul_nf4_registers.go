package kernels

import (
	"fmt"

	"qlora-wgpu/gpu"
)

// The NF4 products with tiles in registers, and those that share the decoding of weights within a subgroup.

type matmulNF4ForwardParams struct {
	Tokens, Rows, Cols4, YStride, YFirst, Packed, Codes, Nested, Bias uint32
	Offset                                                            float32
	FirstBlock, Shifts, RowTiles, Span4                               uint32
}

type matmulNF4BackwardParams struct {
	Tokens, Rows, Words, DyStride4, DyFirst4, Packed, Codes, Nested uint32
	Offset                                                          float32
	FirstBlock, Shifts, ColTiles, Accumulate                        uint32
}

var (
	matmulNF4ForwardRegisters  = define("matmul_nf4_forward_registers", "riw", matmulNF4ForwardParams{})
	matmulNF4ForwardSubgroup   = define("matmul_nf4_forward_subgroup", "riw", matmulNF4ForwardParams{})
	matmulNF4BackwardRegisters = define("matmul_nf4_backward_registers", "riw", matmulNF4BackwardParams{})
	matmulNF4BackwardSubgroup  = define("matmul_nf4_backward_subgroup", "riw", matmulNF4BackwardParams{})
)

func nf4Registers(t, q int) variant[nf4Product] {
	return variant[nf4Product]{Variant: Variant{
		Name: registersName(t, q), Tolerance: productTolerance, made: cpus, parts: 1, shaders: []*shader{matmulNF4ForwardRegisters},
		constants: map[string]uint32{"TILE_T": uint32(t), "TILE_Q": uint32(q)}, tokens: t, outputs: 32 * q,
	}, run: nf4Product.forwardByShards}
}

func nf4BackwardRegisters(t, w int) variant[nf4Product] {
	return variant[nf4Product]{Variant: Variant{
		Name: registersName(t, w), Tolerance: productTolerance, made: cpus, parts: 1, shaders: []*shader{matmulNF4BackwardRegisters},
		constants: map[string]uint32{"TILE_T": uint32(t), "TILE_W": uint32(w)}, tokens: t, outputs: 64 * w,
	}, run: nf4Product.backwardByShards}
}

// nf4Subgroup has workgroups of so many invocations: few for software devices, whose subgroups are small, and more for
// GPUs. The name has the invocations, and the tile of each.
func nf4Subgroup(lanes, t, q int) variant[nf4Product] {
	return variant[nf4Product]{Variant: Variant{
		Name: fmt.Sprintf("subgroup_%dx%dx%d", lanes, t, q), Tolerance: productTolerance, Needs: gpu.Subgroups,
		made: cpus | graphics, parts: 1, shaders: []*shader{matmulNF4ForwardSubgroup},
		constants: map[string]uint32{"LANES": uint32(lanes), "TILE_T": uint32(t), "TILE_Q": uint32(q)}, tokens: lanes * t, outputs: 4 * q,
	}, run: nf4Product.forwardByShards}
}

func nf4BackwardSubgroup(lanes, t int) variant[nf4Product] {
	return variant[nf4Product]{Variant: Variant{
		Name: fmt.Sprintf("subgroup_%dx%dx1", lanes, t), Tolerance: productTolerance, Needs: gpu.Subgroups,
		made: cpus | graphics, parts: 1, shaders: []*shader{matmulNF4BackwardSubgroup},
		constants: map[string]uint32{"LANES": uint32(lanes), "TILE_T": uint32(t)}, tokens: lanes * t, outputs: 8,
	}, run: nf4Product.backwardByShards}
}

// wordsShareScale: all words of 8 columns that an invocation owns lie in one block.
func (p nf4Product) wordsShareScale(_ *gpu.Device, v *Variant) bool {
	return p.w.span() >= 8*int(v.constants["TILE_W"])
}

// forwardByShards takes a whole shard of W at once, as the kernels for single tokens on GPUs do too.
func (p nf4Product) forwardByShards(rec *gpu.Recorder, v *Variant) {
	x, w := p.x, p.w
	for _, s := range w.Shards {
		rowTiles := ceilDiv(s.Rows, v.outputs)
		rec.Dispatch(v.spec(), rowTiles*ceilDiv(x.Rows, v.tokens), flops(x.Rows, s.Rows, w.K), matmulNF4ForwardParams{
			Tokens: uint32(x.Rows), Rows: uint32(s.Rows), Cols4: uint32(w.K / 4), YStride: uint32(w.N), YFirst: uint32(s.Row),
			Packed: s.Packed, Codes: s.Codes, Nested: s.Nested, Bias: s.Bias, Offset: s.Offset, FirstBlock: s.FirstBlock,
			Shifts: w.shifts(), RowTiles: uint32(rowTiles), Span4: uint32(w.span() / 4),
		}, s.Region, x.Single(), p.y.Single())
	}
}

func (p nf4Product) backwardByShards(rec *gpu.Recorder, v *Variant) {
	dx, dy, w := p.x, p.y, p.w
	colTiles := ceilDiv(w.K, v.outputs)
	for i, s := range w.Shards {
		rec.Dispatch(v.spec(), colTiles*ceilDiv(dx.Rows, v.tokens), flops(dx.Rows, s.Rows, w.K), matmulNF4BackwardParams{
			Tokens: uint32(dx.Rows), Rows: uint32(s.Rows), Words: uint32(w.K / 8), DyStride4: uint32(w.N / 4), DyFirst4: uint32(s.Row / 4),
			Packed: s.Packed, Codes: s.Codes, Nested: s.Nested, Offset: s.Offset, FirstBlock: s.FirstBlock,
			Shifts: w.shifts(), ColTiles: uint32(colTiles), Accumulate: flag(p.accumulate || i > 0),
		}, s.Region, dy.Single(), dx.Single())
	}
}
