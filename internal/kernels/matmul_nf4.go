package kernels

import (
	"slices"

	"qlora-wgpu/gpu"
)

// nf4Product is y [T, N] of x [T, K] and W forward, or x of y and W back to the input, added to what is there when
// accumulate is set.
type nf4Product struct {
	y, x       *gpu.Tensor
	w          *NF4Weight
	accumulate bool
}

func (p nf4Product) count() int         { return p.x.Rows }
func (p nf4Product) class() string      { return matmulClass(p.x.Rows, p.w.N, p.w.K) }
func (p nf4Product) storage() gpu.DType { return gpu.U32 } // of packed codes

// small: a large tile is not worth its compilation in a browser.
func (p nf4Product) small(*gpu.Device) bool { return p.w.N*p.w.K < largeTileWeights }

// subgroupsPay: the device has them, and W is one of those for which a large tile is worth its compilation.
func (p nf4Product) subgroupsPay(dev *gpu.Device) bool {
	return dev.Has(gpu.Subgroups) && !p.small(dev)
}

var matmulNF4Forward = newOperation(operation[nf4Product]{
	name: BenchNF4Forward,
	of:   OfLinears,
	variants: slices.Concat([]variant[nf4Product]{
		nf4Registers(4, 2).forFew(), nf4Registers(16, 1).hasLarger(), nf4Registers(16, 4).hasLarger(), nf4Registers(32, 4),
		nf4Uniform(1).hasLarger(), nf4Uniform(2), nf4Subgroup(4, 16, 4), nf4Subgroup(32, 8, 2),
	}, nf4Tiled, nf4Vectors),
	rules: []rule[nf4Product]{
		// in a browser it takes seconds to compile and gains nothing
		{on: software, tokens: exactly(1), take: "vector_uniform"},
		{on: graphics, tokens: exactly(1), take: "vector_1"},
		{on: graphics, tokens: upTo(8), take: "vector_4"},
		{tokens: upTo(8), take: "registers_4x2"},
		{on: cpus, where: nf4Product.subgroupsPay, take: "subgroup_4x16x4"},
		{on: software, take: "uniform_32x2"},
		{on: softwareBrowser, where: nf4Product.small, take: "registers_16x1"},
		{on: softwareBrowser, take: "registers_16x4"},
		{tokens: upTo(32), take: "tiled_32x32"},
		{take: "tiled_64x64"},
	},
	tuned:    true,
	operands: nf4Operands,
})

// MatmulNF4Forward is y [T, N] = x [T, K] Wᵀ (+ bias).
func MatmulNF4Forward(rec *gpu.Recorder, y, x *gpu.Tensor, w *NF4Weight) {
	w.check(matmulNF4Forward.name)
	require(x.Cols == w.K && y.Cols == w.N && x.Rows == y.Rows, matmulNF4Forward.name,
		"%s is %d×%d, x %d×%d, y %d×%d", w.Name, w.N, w.K, x.Rows, x.Cols, y.Rows, y.Cols)
	matmulNF4Forward.run(rec, nf4Product{y: y, x: x, w: w})
}

var matmulNF4Backward = newOperation(operation[nf4Product]{
	name: BenchNF4Backward,
	of:   OfLinears,
	variants: slices.Concat([]variant[nf4Product]{
		nf4BackwardRegisters(4, 1).forFew(), nf4BackwardRegisters(16, 1).hasLarger(),
		nf4BackwardRegisters(16, 2).hasLarger().orElse(nf4Product.wordsShareScale, "registers_16x1"),
		nf4BackwardRegisters(16, 4).orElse(nf4Product.wordsShareScale, "registers_16x1"),
		nf4BackwardUniform(1).hasLarger().orElse(nf4Product.quadInWindow, "registers_16x2"),
		nf4BackwardUniform(2).orElse(nf4Product.wordsAndQuad, "uniform_32x1"),
		nf4BackwardSubgroup(4, 16), nf4BackwardSubgroup(32, 8),
	}, nf4BackwardTiled),
	rules: []rule[nf4Product]{
		{tokens: upTo(4), take: "registers_4x1"},
		{on: cpus, where: nf4Product.subgroupsPay, take: "subgroup_4x16x1"},
		{on: software, take: "uniform_32x2"},
		{on: softwareBrowser, where: nf4Product.small, take: "registers_16x1"},
		{on: softwareBrowser, take: "registers_16x4"},
		{tokens: upTo(32), take: "tiled_32x32"},
		{take: "tiled_64x64"},
	},
	sumsRows: true,
	tuned:    true,
	operands: nf4Operands,
})

// MatmulNF4Backward is dx [T, K] = dy [T, N] W, added to dx when accumulate is set. There is no gradient of W: it is
// frozen.
func MatmulNF4Backward(rec *gpu.Recorder, dx, dy *gpu.Tensor, w *NF4Weight, accumulate bool) {
	w.check(matmulNF4Backward.name)
	require(dx.Cols == w.K && dy.Cols == w.N && dx.Rows == dy.Rows, matmulNF4Backward.name,
		"%s is %d×%d, dx %d×%d, dy %d×%d", w.Name, w.N, w.K, dx.Rows, dx.Cols, dy.Rows, dy.Cols)
	matmulNF4Backward.run(rec, nf4Product{y: dy, x: dx, w: w, accumulate: accumulate})
}

// nf4Operands are a cell's. A weight that does not fit in one piece is sharded in a run: the smaller shapes decide.
func nf4Operands(m *maker, c Cell) nf4Product {
	const block = 64
	blocks := ceilDiv(c.N*c.K, block)
	words := RegionHeader + c.N*c.K/8 + ceilDiv(blocks, 4) + blocks/256 + 1024
	if m.activationsTooBig(c) || m.bindingTooBig(gpu.U32.Size(words)) {
		return nf4Product{}
	}
	p := nf4Product{x: m.tensor(gpu.F32, c.T, c.K), y: m.tensor(gpu.F32, c.T, (c.N+3)/4*4)}
	region := m.tensor(gpu.U32, 1, words)
	if m.err != nil {
		return p
	}
	packed := uint32((RegionHeader + 63) / 64 * 64)
	codes := packed + uint32(c.N*c.K/8)
	p.w = &NF4Weight{Name: "autotune", N: c.N, K: c.K, BlockSize: block, Group: 256, Shards: []NF4Shard{{
		Region: region.Single(), Rows: c.N, Packed: packed, Codes: codes, Nested: codes + uint32(ceilDiv(blocks, 4)), Bias: NoBias,
	}}}
	return p
}

type dequantizeNF4Params struct {
	Words, Packed, Codes, Nested uint32
	Offset                       float32
	FirstBlock, Shifts           uint32
}

var dequantizeNF4Forward = define("dequantize_nf4_forward", "rw", dequantizeNF4Params{})

// DequantizeNF4Forward writes W as float32 [N, K]; out's shards need not agree with the weight's as long as each of the
// weight's lies in one.
func DequantizeNF4Forward(rec *gpu.Recorder, out *gpu.Tensor, w *NF4Weight) {
	const op = "dequantize_nf4_forward"
	w.check(op)
	require(out.Rows == w.N && out.Cols == w.K, op, "%s is %d×%d, out %d×%d", w.Name, w.N, w.K, out.Rows, out.Cols)
	for _, s := range w.Shards {
		words := s.Rows * w.K / 8
		rec.Dispatch(dequantizeNF4Forward.spec(nil), ceilDiv(words, 64), int64(16*words), dequantizeNF4Params{
			Words: uint32(words), Packed: s.Packed, Codes: s.Codes, Nested: s.Nested, Offset: s.Offset, FirstBlock: s.FirstBlock,
			Shifts: w.shifts(),
		}, s.Region, out.Slice(s.Row, s.Rows).Single())
	}
}
