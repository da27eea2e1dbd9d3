package kernels

import "qlora-wgpu/gpu"

// Plain products of a few tokens, for generation: on GPUs as many invocations on a row as a cache line has words; on
// CPU devices everything through uniform arrays, a token after another.

type matmulForwardVectorUniformParams struct {
	FirstRow, EndRow, Piece, Parts, Cols8, XFirst4, YFirst, Accumulate uint32
	Alpha                                                              float32
	FirstW0, FirstW1, FirstW2, FirstW3, FirstW4, FirstW5, FirstW6      uint32
}

var (
	matmulForwardVector        = define("matmul_forward_vector", "iiw", matmulForwardParams{})
	matmulForwardVectorUniform = define("matmul_forward_vector_uniform", "uuuuuuuuw", matmulForwardVectorUniformParams{})
)

var forwardVectors = []variant[product]{
	variant[product]{Variant: vectorVariant(matmulForwardVector, "vector_1", 1), run: product.forwardByShards}.forFew(),
	variant[product]{Variant: vectorVariant(matmulForwardVector, "vector_4", 4), run: product.forwardByShards}.forFew(),
	variant[product]{
		Variant: vectorUniformVariant(matmulForwardVectorUniform, []gpu.DType{gpu.BF16}), run: product.forwardByWindows,
	}.forFew().orElse(product.columnsInWindows, "registers_16x1"),
}

// vectorVariant is a shader for GPUs that takes so many tokens at once.
func vectorVariant(s *shader, name string, tokens int) Variant {
	return Variant{
		Name: name, Tolerance: productTolerance, made: graphics, parts: 1, shaders: []*shader{s},
		constants: map[string]uint32{"TILE_T": uint32(tokens)}, tokens: tokens, outputs: 8,
	}
}

// vectorUniformVariant is a shader for CPU devices, and the storage types that it reads.
func vectorUniformVariant(s *shader, storage []gpu.DType) Variant {
	return Variant{
		Name: "vector_uniform", Tolerance: productTolerance, made: cpus, parts: 1, storage: storage, shaders: []*shader{s},
		constants: map[string]uint32{"WINDOWS": vectorWindows, "TILE_R": 2}, tokens: 1, outputs: 16,
	}
}

// vectorWindows is how many uniform windows of a matrix a dispatch binds: with the other bindings as many as every
// device allows.
const vectorWindows = 7

// matrixRows are rows of rowBytes, a multiple of 16, that begin at a byte of a buffer.
type matrixRows struct {
	buffer       *gpu.Buffer
	at, rowBytes int64
	rows         int
	most         int // rows that a piece may hold
	outputs      int // that a workgroup owns
}

// windows are rows [first, end) of a matrix, cut into pieces that each lie in a uniform window.
type windows struct {
	first, end, piece int
	ranges            [vectorWindows]gpu.Range
	begins            [vectorWindows]uint32 // where a window's first row begins in it, in vec4
}

// windows cuts the rows into as few dispatches as possible.
func (m matrixRows) windows(f func(windows)) {
	spread := ceilDiv(ceilDiv(m.rows, vectorWindows), m.outputs) * m.outputs
	p := windows{piece: min(int((gpu.UniformBytes-256)/m.rowBytes), m.most, spread)}
	for ; p.first < m.rows; p.first += p.piece * vectorWindows {
		p.end = min(p.first+p.piece*vectorWindows, m.rows)
		for i := range p.ranges {
			window, skip := m.buffer.UniformWindow(m.at + int64(min(p.first+i*p.piece, m.rows-1))*m.rowBytes)
			p.ranges[i], p.begins[i] = window, uint32(skip/16)
		}
		f(p)
	}
}

// parts tells into how many groups the windows fall so that each workgroup takes one of these: a window that it does
// not take costs one round of its loop.
func (p windows) parts(rounds int) int {
	if rounds < 64 {
		return 1
	}
	return vectorWindows
}

func (p windows) groups(outputs, parts int) int {
	return ceilDiv(min(p.piece, p.end-p.first), outputs) * parts
}

// columnsInWindows: 8 columns begin at a multiple of 16 bytes, and a token's x lies in one window.
func (p product) columnsInWindows(*gpu.Device, *Variant) bool {
	return p.w.Cols%8 == 0 && p.w.Cols <= windowElements
}

// headInWindows: w is the head's table, and such a one.
func (p product) headInWindows(dev *gpu.Device) bool {
	return p.w.DType == gpu.BF16 && p.columnsInWindows(dev, nil)
}

func (p product) forwardByWindows(rec *gpu.Recorder, v *Variant) {
	x, y, w := p.x, p.y, p.w
	flat := packFlat(rec, x)
	for _, s := range w.Shards {
		m := matrixRows{
			buffer: s.Range.Buffer, at: s.Range.Offset, rowBytes: w.DType.Size(w.Cols), rows: s.Rows, most: s.Rows, outputs: v.outputs,
		}
		m.windows(func(ws windows) {
			parts := ws.parts(w.Cols / 8)
			for t := range x.Rows {
				xs, skip := flat.UniformWindow(gpu.F32.Size(t * x.Cols))
				ranges := append([]gpu.Range{xs}, ws.ranges[:]...)
				rec.Dispatch(v.spec(), ws.groups(v.outputs, parts), flops(1, ws.end-ws.first, w.Cols), matmulForwardVectorUniformParams{
					FirstRow: uint32(ws.first), EndRow: uint32(ws.end), Piece: uint32(ws.piece), Parts: uint32(parts), Cols8: uint32(w.Cols / 8),
					XFirst4: uint32(skip / 16), YFirst: uint32(t*y.Cols + s.Row), Accumulate: flag(p.accumulate), Alpha: p.alpha,
					FirstW0: ws.begins[0], FirstW1: ws.begins[1], FirstW2: ws.begins[2], FirstW3: ws.begins[3],
					FirstW4: ws.begins[4], FirstW5: ws.begins[5], FirstW6: ws.begins[6],
				}, append(ranges, y.Single())...)
			}
		})
	}
}
