package kernels

import (
	"math/bits"
	"slices"

	"qlora-wgpu/gpu"
)

// NF4Weight is the frozen weight W [N, K] of a linear in NF4 with double quantization, cut by rows into shards. Every shard's data lies
// within one region part, a buffer that starts with RegionHeader: the offsets count 4-byte words from the part's start.
type NF4Weight struct {
	Name            string
	N, K, BlockSize int
	Shards          []NF4Shard
}

// NF4Shard is rows [Row, Row+Rows) of a weight.
type NF4Shard struct {
	Region     gpu.Range
	Row, Rows  int
	Packed     uint32 // u32 words of 8 codes, in bitsandbytes' nibble order
	Codes      uint32 // one byte of absmax code a block
	Nested     uint32 // float32 nested absmax, one for 256 blocks
	Bias       uint32 // float32 [Rows], or NoBias
	Offset     float32
	FirstBlock uint32 // where the shard's first block lies within its group of 256
}

// NoBias marks a linear without bias.
const NoBias = ^uint32(0)

// RegionHeader is the words at the start of every region part: the signed dynamic map of the double quantization (256 float32)
// and the NF4 codebook (16 float32).
const RegionHeader = 256 + 16

func (w *NF4Weight) check(kernel string) {
	require(w.K%8 == 0 && w.N%4 == 0, kernel, "%s is %d×%d: rows must be a multiple of 4 and columns of 8", w.Name, w.N, w.K)
}

func blockShift(blockSize int) uint32 { return uint32(bits.TrailingZeros(uint(blockSize))) }

// span is how many columns in a row are sure to share one absmax.
func (w *NF4Weight) span() int {
	for _, s := range []int{64, 32} {
		if w.BlockSize >= s && w.K%s == 0 {
			return s
		}
	}
	return 8
}

type matmulNF4ForwardParams struct {
	Tokens, Rows, Cols4, YStride, YFirst, Packed, Codes, Nested, Bias uint32
	Offset                                                            float32
	FirstBlock, BlockShift, RowTiles, Span4                           uint32
}

var (
	matmulNF4ForwardRegisters = define("matmul_nf4_forward_registers", "riw", matmulNF4ForwardParams{})
	matmulNF4ForwardSubgroup  = define("matmul_nf4_forward_subgroup", "riw", matmulNF4ForwardParams{}).needing(gpu.Subgroups)
)

var matmulNF4ForwardVariants = append([]variant{
	nf4Registers(4, 2), nf4Registers(16, 1), nf4Registers(16, 4), nf4Registers(32, 4),
	{"uniform_32x1", matmulNF4ForwardUniform, map[string]uint32{"TILE_T": uniformTokens, "TILE_Q": 1}, uniformTokens, 32, 1},
	{"uniform_32x2", matmulNF4ForwardUniform, map[string]uint32{"TILE_T": uniformTokens, "TILE_Q": 2}, uniformTokens, 64, 1},
	nf4Subgroup(4, 16, 4), nf4Subgroup(32, 8, 2),
}, slices.Concat(inParts(matmulNF4ForwardTiled, blocksOfW), vectorVariants(matmulNF4ForwardVector, matmulNF4ForwardVectorUniform))...)

func nf4Registers(t, q int) variant {
	return variant{registersName(t, q), matmulNF4ForwardRegisters, map[string]uint32{"TILE_T": uint32(t), "TILE_Q": uint32(q)}, t, 32 * q, 1}
}

// nf4Subgroup has workgroups of so many invocations: few for software devices, whose subgroups are small, and more for GPUs.
func nf4Subgroup(lanes, t, q int) variant {
	return variant{subgroupName(lanes, t, q), matmulNF4ForwardSubgroup, map[string]uint32{"LANES": uint32(lanes), "TILE_T": uint32(t), "TILE_Q": uint32(q)}, lanes * t, 4 * q, 1}
}

// subgroupsPay: the device has them, and W is one of those for which a large tile is worth its compilation.
func subgroupsPay(rec *gpu.Recorder, w *NF4Weight) bool {
	return rec.Device().Has(gpu.Subgroups) && w.N*w.K >= largeTileWeights
}

// MatmulNF4Forward is y [T, N] = x [T, K] Wᵀ (+ bias).
func MatmulNF4Forward(rec *gpu.Recorder, y, x *gpu.Tensor, w *NF4Weight) {
	const op = "matmul_nf4_forward"
	w.check(op)
	require(x.Cols == w.K && y.Cols == w.N && x.Rows == y.Rows, op, "%s is %d×%d, x %d×%d, y %d×%d", w.Name, w.N, w.K, x.Rows, x.Cols, y.Rows, y.Cols)
	fallback, few := tiledFallback(x.Rows), vectorFallback(rec, x.Rows)
	switch {
	case few != "":
		fallback = few
	case x.Rows <= 8:
		fallback = registersName(4, 2)
	case onCPU(rec) && subgroupsPay(rec, w):
		fallback = subgroupName(4, 16, 4)
	case onCPU(rec):
		fallback = uniformFallback(rec, w.N*w.K)
	}
	v := pickVariant(rec, op, matmulNF4ForwardVariants, x.Rows, w.N, w.K, fallback)
	if v.shader == matmulNF4ForwardUniform && w.rowsOfCodes() < v.outputs {
		v = nf4Registers(16, 4)
	}
	if v.shader == matmulNF4ForwardVectorUniform {
		if w.vectorUniformFits() {
			matmulNF4ForwardWindows(rec, y, x, w, v)
			return
		}
		v = nf4Registers(4, 2)
	}
	if v.shader == matmulNF4ForwardUniform {
		matmulNF4ForwardChunks(rec, y, x, w, v)
		return
	}
	if v.shader == matmulNF4ForwardTiled && !tilesFit(rec, w.K) {
		v = nf4Registers(16, 1)
	}
	if v.shader == matmulNF4ForwardTiled {
		matmulNF4ForwardTiles(rec, y, x, w, v)
		return
	}
	for _, s := range w.Shards {
		rowTiles := ceilDiv(s.Rows, v.outputs)
		rec.Dispatch(v.shader.spec(v.constants), rowTiles*ceilDiv(x.Rows, v.tokens), int64(2*x.Rows)*int64(s.Rows)*int64(w.K),
			matmulNF4ForwardParams{
				Tokens: uint32(x.Rows), Rows: uint32(s.Rows), Cols4: uint32(w.K / 4), YStride: uint32(w.N), YFirst: uint32(s.Row),
				Packed: s.Packed, Codes: s.Codes, Nested: s.Nested, Bias: s.Bias, Offset: s.Offset, FirstBlock: s.FirstBlock,
				BlockShift: blockShift(w.BlockSize), RowTiles: uint32(rowTiles), Span4: uint32(w.span() / 4),
			}, s.Region, x.Single(), y.Single())
	}
}

type matmulNF4ForwardUniformParams struct {
	Tokens, FirstRow, EndRow, Cols4, YStride, YFirst, Packed, Bias                                 uint32
	Offset                                                                                         float32
	CodesFirst, NestedFirst, FirstBlock, BlockShift, FirstToken, FirstCol4, EndCol4, Span4, Halves uint32
}

var matmulNF4ForwardUniform = define("matmul_nf4_forward_uniform", "ruuuuw", matmulNF4ForwardUniformParams{})

// scaleWindows are the uniform arrays in which a dispatch over some of a shard's rows finds their scales.
type scaleWindows struct {
	maps, codes, nested     gpu.Range
	codesFirst, nestedFirst uint32
}

// scales binds the absmax of rows [first, end) of a shard, which rowsOfCodes allows to be so many.
func (w *NF4Weight) scales(s NF4Shard, first, end int) scaleWindows {
	b, base := s.Region.Buffer, s.Region.Offset
	block := int64(first) * int64(w.K) >> blockShift(w.BlockSize)
	maps, _ := b.UniformWindow(base)
	codes, skip := b.UniformWindow(base + 4*int64(s.Codes) + block)
	group := (int64(s.FirstBlock) + block) >> 8
	nested, skipped := b.UniformWindow(base + 4*(int64(s.Nested)+group))
	return scaleWindows{maps, codes, nested, uint32(skip - block), uint32(skipped/4 - group)}
}

// rowsOfCodes is how many rows have their absmax codes in one uniform window wherever that starts; their nested absmax then do too.
func (w *NF4Weight) rowsOfCodes() int {
	const codes = gpu.UniformBytes - 256 - 1
	return codes << blockShift(w.BlockSize) / w.K
}

// matmulNF4ForwardChunks is the forward product with x and the scales in uniform arrays.
func matmulNF4ForwardChunks(rec *gpu.Recorder, y, x *gpu.Tensor, w *NF4Weight, v variant) {
	p := packChunks(rec, scratchWide, x)
	span := w.span()
	piece := w.rowsOfCodes() / v.outputs * v.outputs
	for _, s := range w.Shards {
		for row := 0; row < s.Rows; row += piece {
			end := min(row+piece, s.Rows)
			scales := w.scales(s, row, end)
			for chunk := 0; chunk*uniformColumns < w.K; chunk++ {
				first, last := chunk*uniformColumns, min((chunk+1)*uniformColumns, w.K)
				for t := 0; t < x.Rows; t += uniformTokens {
					spec, tokens := windowTile(v.shader.spec(v.constants), x.Rows-t)
					rec.Dispatch(spec, ceilDiv(end-row, v.outputs), int64(2*tokens)*int64(end-row)*int64(last-first),
						matmulNF4ForwardUniformParams{
							Tokens: uint32(x.Rows), FirstRow: uint32(row), EndRow: uint32(end), Cols4: uint32(w.K / 4), YStride: uint32(w.N), YFirst: uint32(s.Row),
							Packed: s.Packed, Bias: s.Bias, Offset: s.Offset, CodesFirst: scales.codesFirst, NestedFirst: scales.nestedFirst, FirstBlock: s.FirstBlock,
							BlockShift: blockShift(w.BlockSize), FirstToken: uint32(t), FirstCol4: uint32(first / 4), EndCol4: uint32(last / 4), Span4: uint32(span / 4), Halves: 2,
						}, s.Region, scales.maps, scales.codes, scales.nested, p.window(chunk, t), y.Single())
				}
			}
		}
	}
}

type matmulNF4BackwardParams struct {
	Tokens, Rows, Words, DyStride4, DyFirst4, Packed, Codes, Nested uint32
	Offset                                                          float32
	FirstBlock, BlockShift, ColTiles, Accumulate                    uint32
}

var (
	matmulNF4BackwardRegisters = define("matmul_nf4_backward_registers", "riw", matmulNF4BackwardParams{})
	matmulNF4BackwardSubgroup  = define("matmul_nf4_backward_subgroup", "riw", matmulNF4BackwardParams{}).needing(gpu.Subgroups)
)

var matmulNF4BackwardVariants = append([]variant{
	nf4BackwardRegisters(4, 1), nf4BackwardRegisters(16, 1), nf4BackwardRegisters(16, 2), nf4BackwardRegisters(16, 4),
	{"uniform_32x1", matmulNF4BackwardUniform, map[string]uint32{"TILE_T": uniformTokens, "TILE_W": 1}, uniformTokens, 64, 1},
	{"uniform_32x2", matmulNF4BackwardUniform, map[string]uint32{"TILE_T": uniformTokens, "TILE_W": 2}, uniformTokens, 128, 1},
	nf4BackwardSubgroup(4, 16), nf4BackwardSubgroup(32, 8),
}, inParts(matmulNF4BackwardTiled, wordsOfW)...)

func nf4BackwardRegisters(t, w int) variant {
	return variant{registersName(t, w), matmulNF4BackwardRegisters, map[string]uint32{"TILE_T": uint32(t), "TILE_W": uint32(w)}, t, 64 * w, 1}
}

func nf4BackwardSubgroup(lanes, t int) variant {
	return variant{subgroupName(lanes, t, 1), matmulNF4BackwardSubgroup, map[string]uint32{"LANES": uint32(lanes), "TILE_T": uint32(t)}, lanes * t, 8, 1}
}

// MatmulNF4Backward is dx [T, K] = dy [T, N] W, added to dx when accumulate is set. There is no gradient of W: it is frozen.
func MatmulNF4Backward(rec *gpu.Recorder, dx, dy *gpu.Tensor, w *NF4Weight, accumulate bool) {
	const op = "matmul_nf4_backward"
	w.check(op)
	require(dx.Cols == w.K && dy.Cols == w.N && dx.Rows == dy.Rows, op, "%s is %d×%d, dx %d×%d, dy %d×%d", w.Name, w.N, w.K, dx.Rows, dx.Cols, dy.Rows, dy.Cols)
	fallback := tiledFallback(dx.Rows)
	switch {
	case dx.Rows <= 4:
		fallback = registersName(4, 1)
	case onCPU(rec) && subgroupsPay(rec, w):
		fallback = subgroupName(4, 16, 1)
	case onCPU(rec):
		fallback = uniformFallback(rec, w.N*w.K)
	}
	v := pickVariant(rec, op, matmulNF4BackwardVariants, dx.Rows, w.N, w.K, fallback)
	constants, outputs := v.constants, v.outputs
	if constants["TILE_W"] > 1 && w.span() < int(8*constants["TILE_W"]) {
		constants, outputs = with(constants, "TILE_W", 1), 64
	}
	if v.shader == matmulNF4BackwardUniform && w.rowsOfCodes() < 4 {
		v = nf4BackwardRegisters(16, 2)
		constants, outputs = v.constants, v.outputs
	}
	if v.shader == matmulNF4BackwardUniform {
		matmulNF4BackwardChunks(rec, dx, dy, w, v.shader.spec(constants), outputs, accumulate)
		return
	}
	if v.shader == matmulNF4BackwardTiled && !tilesFit(rec, w.N) {
		v = nf4BackwardRegisters(16, 1)
		constants, outputs = v.constants, v.outputs
	}
	if v.shader == matmulNF4BackwardTiled {
		matmulNF4BackwardTiles(rec, dx, dy, w, v, accumulate)
		return
	}
	for i, s := range w.Shards {
		colTiles := ceilDiv(w.K, outputs)
		rec.Dispatch(v.shader.spec(constants), colTiles*ceilDiv(dx.Rows, v.tokens), int64(2*dx.Rows)*int64(s.Rows)*int64(w.K),
			matmulNF4BackwardParams{
				Tokens: uint32(dx.Rows), Rows: uint32(s.Rows), Words: uint32(w.K / 8), DyStride4: uint32(w.N / 4), DyFirst4: uint32(s.Row / 4),
				Packed: s.Packed, Codes: s.Codes, Nested: s.Nested, Offset: s.Offset, FirstBlock: s.FirstBlock,
				BlockShift: blockShift(w.BlockSize), ColTiles: uint32(colTiles), Accumulate: flag(accumulate || i > 0),
			}, s.Region, dy.Single(), dx.Single())
	}
}

type matmulNF4BackwardUniformParams struct {
	Tokens, Words, FirstRow, EndRow, WindowFirst, Packed                    uint32
	Offset                                                                  float32
	CodesFirst, NestedFirst, FirstBlock, BlockShift, FirstToken, Accumulate uint32
}

var matmulNF4BackwardUniform = define("matmul_nf4_backward_uniform", "ruuuuw", matmulNF4BackwardUniformParams{})

// matmulNF4BackwardChunks is the input's gradient with dy and the scales in uniform arrays. A chunk of dy's columns may reach over two shards of W.
func matmulNF4BackwardChunks(rec *gpu.Recorder, dx, dy *gpu.Tensor, w *NF4Weight, spec gpu.KernelSpec, outputs int, accumulate bool) {
	p := packChunks(rec, scratchWide, dy)
	piece := w.rowsOfCodes() / 4 * 4
	for _, s := range w.Shards {
		for first := s.Row; first < s.Row+s.Rows; {
			chunk := first / uniformColumns
			end := min((chunk+1)*uniformColumns, s.Row+s.Rows, first+piece)
			scales := w.scales(s, first-s.Row, end-s.Row)
			for t := 0; t < dx.Rows; t += uniformTokens {
				tile, tokens := windowTile(spec, dx.Rows-t)
				rec.Dispatch(tile, ceilDiv(w.K, outputs), int64(2*tokens)*int64(end-first)*int64(w.K), matmulNF4BackwardUniformParams{
					Tokens: uint32(dx.Rows), Words: uint32(w.K / 8), FirstRow: uint32(first - s.Row), EndRow: uint32(end - s.Row),
					WindowFirst: uint32(first - chunk*uniformColumns), Packed: s.Packed, Offset: s.Offset, CodesFirst: scales.codesFirst, NestedFirst: scales.nestedFirst,
					FirstBlock: s.FirstBlock, BlockShift: blockShift(w.BlockSize), FirstToken: uint32(t), Accumulate: flag(accumulate || first > 0),
				}, s.Region, scales.maps, scales.codes, scales.nested, p.window(chunk, t), dx.Single())
			}
			first = end
		}
	}
}

type dequantizeNF4Params struct {
	Words, Packed, Codes, Nested uint32
	Offset                       float32
	FirstBlock, BlockShift       uint32
}

var dequantizeNF4Forward = define("dequantize_nf4_forward", "rw", dequantizeNF4Params{})

// DequantizeNF4Forward writes W as float32 [N, K]; out's shards need not agree with the weight's as long as each of the weight's lies in one.
func DequantizeNF4Forward(rec *gpu.Recorder, out *gpu.Tensor, w *NF4Weight) {
	const op = "dequantize_nf4_forward"
	w.check(op)
	require(out.Rows == w.N && out.Cols == w.K, op, "%s is %d×%d, out %d×%d", w.Name, w.N, w.K, out.Rows, out.Cols)
	for _, s := range w.Shards {
		words := s.Rows * w.K / 8
		rec.Dispatch(dequantizeNF4Forward.spec(nil), ceilDiv(words, 64), int64(16*words), dequantizeNF4Params{
			Words: uint32(words), Packed: s.Packed, Codes: s.Codes, Nested: s.Nested, Offset: s.Offset, FirstBlock: s.FirstBlock,
			BlockShift: blockShift(w.BlockSize),
		}, s.Region, out.Slice(s.Row, s.Rows).Single())
	}
}
