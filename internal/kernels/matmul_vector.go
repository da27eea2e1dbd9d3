package kernels

import "qlora-wgpu/gpu"

// Products of a few tokens, for generation: on GPUs as many invocations on a row as a cache line has words; on CPU devices everything through uniform arrays, a
// token after another.

type matmulNF4ForwardVectorUniformParams struct {
	FirstRow, EndRow, Piece, Parts, Cols32, XFirst4, YFirst, Bias uint32
	Offset                                                        float32
	CodesFirst, NestedFirst, FirstBlock, BlockShift               uint32
	FirstW0, FirstW1, FirstW2, FirstW3, FirstW4, FirstW5, FirstW6 uint32
}

type matmulForwardVectorUniformParams struct {
	FirstRow, EndRow, Piece, Parts, Cols8, XFirst4, YFirst, Accumulate uint32
	Alpha                                                              float32
	FirstW0, FirstW1, FirstW2, FirstW3, FirstW4, FirstW5, FirstW6      uint32
}

var (
	matmulNF4ForwardVector        = define("matmul_nf4_forward_vector", "riw", matmulNF4ForwardParams{})
	matmulNF4ForwardVectorUniform = define("matmul_nf4_forward_vector_uniform", "ruuuuuuuuuuuw", matmulNF4ForwardVectorUniformParams{})
	matmulForwardVector           = define("matmul_forward_vector", "iiw", matmulForwardParams{})
	matmulForwardVectorUniform    = define("matmul_forward_vector_uniform", "uuuuuuuuw", matmulForwardVectorUniformParams{})
)

// vectorVariants are what gpus and uniform, shaders for GPUs and for CPU devices, make of an operation.
func vectorVariants(gpus, uniform *op) []variant {
	return []variant{
		{"vector_1", gpus, map[string]uint32{"TILE_T": 1}, 1, 8, 1},
		{"vector_4", gpus, map[string]uint32{"TILE_T": 4}, 4, 8, 1},
		{"vector_uniform", uniform, map[string]uint32{"WINDOWS": vectorWindows, "TILE_R": 2}, 1, 16, 1},
	}
}

// vectorFallback is the variant for the few tokens of a generation, or nothing where others are better.
func vectorFallback(rec *gpu.Recorder, tokens int) string {
	switch {
	case onCPU(rec) && tokens == 1 && !inBrowser(rec): // there it takes seconds to compile and gains nothing
		return "vector_uniform"
	case !onCPU(rec) && tokens == 1:
		return "vector_1"
	case !onCPU(rec) && tokens <= 8:
		return "vector_4"
	}
	return ""
}

// vectorWindows is how many uniform windows of a matrix a dispatch binds: with the other bindings as many as every device allows.
const vectorWindows = 7

// windows are rows [first, end) of a matrix, cut into pieces that each lie in a uniform window.
type windows struct {
	first, end, piece int
	ranges            [vectorWindows]gpu.Range
	begins            [vectorWindows]uint32 // where a window's first row begins in it, in vec4
}

// eachWindows cuts rows of rowBytes, a multiple of 16, that begin at a byte of a buffer into as few dispatches as possible. A piece holds at most most rows.
func eachWindows(b *gpu.Buffer, at, rowBytes int64, rows, most, outputs int, f func(windows)) {
	spread := ceilDiv(ceilDiv(rows, vectorWindows), outputs) * outputs
	p := windows{piece: min(int((gpu.UniformBytes-256)/rowBytes), most, spread)}
	for ; p.first < rows; p.first += p.piece * vectorWindows {
		p.end = min(p.first+p.piece*vectorWindows, rows)
		for i := range p.ranges {
			window, skip := b.UniformWindow(at + int64(min(p.first+i*p.piece, rows-1))*rowBytes)
			p.ranges[i], p.begins[i] = window, uint32(skip/16)
		}
		f(p)
	}
}

// parts tells into how many groups the windows fall so that each workgroup takes one of these: a window that it does not take costs one round of its loop.
func (p windows) parts(rounds int) int {
	if rounds < 64 {
		return 1
	}
	return vectorWindows
}

func (p windows) groups(outputs, parts int) int {
	return ceilDiv(min(p.piece, p.end-p.first), outputs) * parts
}

// vectorUniformFits: 32 codes share an absmax and begin at a multiple of 16 bytes, and a token's x lies in one window.
func (w *NF4Weight) vectorUniformFits() bool {
	return w.K%32 == 0 && w.BlockSize >= 32 && w.K <= windowElements && w.rowsOfCodes() >= vectorWindows
}

func matmulNF4ForwardWindows(rec *gpu.Recorder, y, x *gpu.Tensor, w *NF4Weight, v variant) {
	flat := packFlat(rec, x)
	for _, s := range w.Shards {
		eachWindows(s.Region.Buffer, s.Region.Offset+4*int64(s.Packed), int64(w.K/2), s.Rows, w.rowsOfCodes()/vectorWindows, v.outputs, func(p windows) {
			scales, parts := w.scales(s, p.first, p.end), p.parts(w.K/32)
			for t := range x.Rows {
				xs, skip := flat.UniformWindow(gpu.F32.Size(t * x.Cols))
				ranges := append([]gpu.Range{s.Region, scales.maps, scales.codes, scales.nested, xs}, p.ranges[:]...)
				rec.Dispatch(v.shader.spec(v.constants), p.groups(v.outputs, parts), int64(2*w.K)*int64(p.end-p.first), matmulNF4ForwardVectorUniformParams{
					FirstRow: uint32(p.first), EndRow: uint32(p.end), Piece: uint32(p.piece), Parts: uint32(parts), Cols32: uint32(w.K / 32), XFirst4: uint32(skip / 16),
					YFirst: uint32(t*w.N + s.Row), Bias: s.Bias, Offset: s.Offset, CodesFirst: scales.codesFirst, NestedFirst: scales.nestedFirst, FirstBlock: s.FirstBlock,
					BlockShift: blockShift(w.BlockSize), FirstW0: p.begins[0], FirstW1: p.begins[1], FirstW2: p.begins[2], FirstW3: p.begins[3], FirstW4: p.begins[4],
					FirstW5: p.begins[5], FirstW6: p.begins[6],
				}, append(ranges, y.Single())...)
			}
		})
	}
}

// forwardVectorUniformFits: w is the head's, 8 columns begin at a multiple of 16 bytes, and a token's x lies in one window.
func forwardVectorUniformFits(w *gpu.Tensor) bool {
	return w.DType == gpu.BF16 && w.Cols%8 == 0 && w.Cols <= windowElements
}

func matmulForwardWindows(rec *gpu.Recorder, y, x, w *gpu.Tensor, v variant, alpha float32, accumulate bool) {
	flat := packFlat(rec, x)
	for _, s := range w.Shards {
		eachWindows(s.Range.Buffer, s.Range.Offset, w.DType.Size(w.Cols), s.Rows, s.Rows, v.outputs, func(p windows) {
			parts := p.parts(w.Cols / 8)
			for t := range x.Rows {
				xs, skip := flat.UniformWindow(gpu.F32.Size(t * x.Cols))
				ranges := append([]gpu.Range{xs}, p.ranges[:]...)
				rec.Dispatch(v.shader.spec(v.constants), p.groups(v.outputs, parts), int64(2*w.Cols)*int64(p.end-p.first), matmulForwardVectorUniformParams{
					FirstRow: uint32(p.first), EndRow: uint32(p.end), Piece: uint32(p.piece), Parts: uint32(parts), Cols8: uint32(w.Cols / 8), XFirst4: uint32(skip / 16),
					YFirst: uint32(t*y.Cols + s.Row), Accumulate: flag(accumulate), Alpha: alpha, FirstW0: p.begins[0], FirstW1: p.begins[1], FirstW2: p.begins[2],
					FirstW3: p.begins[3], FirstW4: p.begins[4], FirstW5: p.begins[5], FirstW6: p.begins[6],
				}, append(ranges, y.Single())...)
			}
		})
	}
}
