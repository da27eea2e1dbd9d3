package kernels

import (
	"fmt"
	"maps"
	"slices"

	"qlora-wgpu/gpu"
)

func registersName(t, n int) string { return fmt.Sprintf("registers_%dx%d", t, n) }

func with(constants map[string]uint32, name string, value uint32) map[string]uint32 {
	out := maps.Clone(constants)
	if out == nil {
		out = map[string]uint32{}
	}
	out[name] = value
	return out
}

func flag(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

type matmulForwardParams struct {
	Tokens, Rows, Cols4, YStride, YFirst, RowTiles, Accumulate uint32
	Alpha                                                      float32
}

var matmulForwardRegisters = define("matmul_forward_registers", "iiw", matmulForwardParams{})

var matmulForwardVariants = append([]variant{
	forwardRegisters(1, 1), forwardRegisters(16, 1), forwardRegisters(16, 4), forwardRegisters(32, 4),
	{"uniform_32x1", matmulForwardUniform, map[string]uint32{"TILE_T": uniformTokens, "TILE_Q": 1}, uniformTokens, 32, 1},
	{"uniform_32x2", matmulForwardUniform, map[string]uint32{"TILE_T": uniformTokens, "TILE_Q": 2}, uniformTokens, 64, 1},
	{"uniform_narrow", matmulForwardNarrow, nil, uniformTokens, 4, 1},
	{"uniform_thin", matmulForwardThin, nil, thinTokens, thinOutputs, 1},
}, slices.Concat(forwardTiled, vectorVariants(matmulForwardVector, matmulForwardVectorUniform))...)

func forwardRegisters(t, q int) variant {
	return variant{registersName(t, q), matmulForwardRegisters, map[string]uint32{"TILE_T": uint32(t), "TILE_Q": uint32(q)}, t, 32 * q, 1}
}

// MatmulForward is y [T, N] = alpha · x [T, K] wᵀ, w [N, K] in F32 or BF16, sharded by rows or not; added to y when accumulate is set. K is a multiple of 4.
// Where N is not, y's columns are the next multiple of 4 and the padding is undefined.
func MatmulForward(rec *gpu.Recorder, y, x, w *gpu.Tensor, alpha float32, accumulate bool) {
	const op = "matmul_forward"
	require(x.Cols == w.Cols && y.Cols == (w.Rows+3)/4*4 && x.Rows == y.Rows && x.Cols%4 == 0, op, "w is %d×%d, x %d×%d, y %d×%d", w.Rows, w.Cols, x.Rows, x.Cols, y.Rows, y.Cols)
	fallback, few := thinOr(w.Rows, x.Rows), vectorFallback(rec, x.Rows)
	switch {
	case few == "vector_uniform" && !forwardVectorUniformFits(w), few == "" && x.Rows <= 4:
		fallback = registersName(1, 1)
	case few != "":
		fallback = few
	case onCPU(rec) && w.Rows <= 64 && w.Cols >= 64:
		fallback = "uniform_narrow"
	case onCPU(rec) && x.Cols >= 64:
		fallback = uniformFallback(rec, w.Rows*w.Cols)
	case onCPU(rec) && !inBrowser(rec):
		fallback = "uniform_thin"
	case onCPU(rec):
		fallback = registersFallback(rec, w.Rows*w.Cols)
	}
	v := pickVariant(rec, op, matmulForwardVariants, x.Rows, w.Rows, w.Cols, fallback)
	switch {
	case v.shader == matmulForwardNarrow && forwardNarrowFits(w):
		matmulForwardNarrowChunks(rec, y, x, w, alpha, accumulate)
		return
	case v.shader == matmulForwardThin && forwardThinFits(w):
		matmulForwardThinPieces(rec, y, x, w, alpha, accumulate)
		return
	case v.shader == matmulForwardVectorUniform && forwardVectorUniformFits(w):
		matmulForwardWindows(rec, y, x, w, v, alpha, accumulate)
		return
	case v.shader == matmulForwardTiled && tilesFit(rec, x.Cols):
		matmulForwardTiles(rec, y, x, w, v, alpha, accumulate)
		return
	case v.shader == matmulForwardNarrow, v.shader == matmulForwardThin, v.shader == matmulForwardVectorUniform, v.shader == matmulForwardTiled:
		v = forwardRegisters(16, 1)
	}
	spec := v.shader.spec(with(v.constants, "BF16", flag(w.DType == gpu.BF16)))
	if v.shader == matmulForwardUniform {
		matmulForwardChunks(rec, y, x, w, spec, v.outputs, alpha, accumulate)
		return
	}
	for _, s := range w.Shards {
		rowTiles := ceilDiv(s.Rows, v.outputs)
		rec.Dispatch(spec, rowTiles*ceilDiv(x.Rows, v.tokens), int64(2*x.Rows)*int64(s.Rows)*int64(w.Cols), matmulForwardParams{
			Tokens: uint32(x.Rows), Rows: uint32(s.Rows), Cols4: uint32(x.Cols / 4), YStride: uint32(y.Cols), YFirst: uint32(s.Row),
			RowTiles: uint32(rowTiles), Accumulate: flag(accumulate), Alpha: alpha,
		}, x.Single(), s.Range, y.Single())
	}
}

type matmulForwardUniformParams struct {
	Tokens, Rows, Cols4, YStride, YFirst, FirstToken, FirstCol4, EndCol4, Accumulate uint32
	Alpha                                                                            float32
}

var matmulForwardUniform = define("matmul_forward_uniform", "uiw", matmulForwardUniformParams{})

// matmulForwardChunks is the forward product with x in uniform arrays.
func matmulForwardChunks(rec *gpu.Recorder, y, x, w *gpu.Tensor, spec gpu.KernelSpec, outputs int, alpha float32, accumulate bool) {
	p := packChunks(rec, scratchWide, x)
	for _, s := range w.Shards {
		for chunk := 0; chunk*uniformColumns < w.Cols; chunk++ {
			first, end := chunk*uniformColumns, min((chunk+1)*uniformColumns, w.Cols)
			for t := 0; t < x.Rows; t += uniformTokens {
				tile, tokens := windowTile(spec, x.Rows-t)
				rec.Dispatch(tile, ceilDiv(s.Rows, outputs), int64(2*tokens)*int64(s.Rows)*int64(end-first), matmulForwardUniformParams{
					Tokens: uint32(x.Rows), Rows: uint32(s.Rows), Cols4: uint32(w.Cols / 4), YStride: uint32(y.Cols), YFirst: uint32(s.Row),
					FirstToken: uint32(t), FirstCol4: uint32(first / 4), EndCol4: uint32(end / 4), Accumulate: flag(accumulate || chunk > 0), Alpha: alpha,
				}, p.window(chunk, t), s.Range, y.Single())
			}
		}
	}
}

type matmulBackwardParams struct {
	Tokens, Rows, Cols4, DyStride4, DyFirst4, ColTiles, Accumulate uint32
	Alpha                                                          float32
}

var matmulBackwardRegisters = define("matmul_backward_registers", "iiw", matmulBackwardParams{})

var matmulBackwardVariants = append([]variant{
	backwardRegisters(4, 1), backwardRegisters(16, 1), backwardRegisters(16, 4),
	{"uniform_32x1", matmulBackwardUniform, map[string]uint32{"TILE_T": uniformTokens, "TILE_K": 1}, uniformTokens, 32, 1},
	{"uniform_32x2", matmulBackwardUniform, map[string]uint32{"TILE_T": uniformTokens, "TILE_K": 2}, uniformTokens, 64, 1},
	{"uniform_narrow", matmulBackwardNarrow, nil, uniformTokens, 4, 1},
	{"uniform_thin", matmulBackwardThin, nil, thinTokens, thinOutputs, 1},
}, tiled(matmulBackwardTiled, vec4OfW, append(wideTiles, thinTile)...)...)

func backwardRegisters(t, k int) variant {
	return variant{registersName(t, k), matmulBackwardRegisters, map[string]uint32{"TILE_T": uint32(t), "TILE_K": uint32(k)}, t, 32 * k, 1}
}

// MatmulBackward is dx [T, K] = alpha · dy [T, N] w, w [N, K] in F32 or BF16; added to dx when accumulate is set. N and K are multiples of 4; dy may have more
// columns than w has rows (a padded vocabulary).
func MatmulBackward(rec *gpu.Recorder, dx, dy, w *gpu.Tensor, alpha float32, accumulate bool) {
	const op = "matmul_backward"
	require(dx.Cols == w.Cols && dy.Cols >= w.Rows && dx.Rows == dy.Rows && w.Cols%4 == 0 && w.Rows%4 == 0 && dy.Cols%4 == 0, op,
		"w is %d×%d, dx %d×%d, dy %d×%d", w.Rows, w.Cols, dx.Rows, dx.Cols, dy.Rows, dy.Cols)
	fallback := thinOr(w.Cols, dx.Rows)
	switch {
	case dx.Rows <= 4:
		fallback = registersName(4, 1)
	case onCPU(rec) && w.Cols <= 64 && w.Rows >= 64:
		fallback = "uniform_narrow"
	case onCPU(rec) && w.Rows >= 64:
		fallback = uniformFallback(rec, w.Rows*w.Cols)
	case onCPU(rec) && !inBrowser(rec):
		fallback = "uniform_thin"
	case onCPU(rec):
		fallback = registersFallback(rec, w.Rows*w.Cols)
	}
	v := pickVariant(rec, op, matmulBackwardVariants, dx.Rows, w.Rows, w.Cols, fallback)
	switch {
	case v.shader == matmulBackwardNarrow && backwardNarrowFits(w):
		matmulBackwardNarrowChunks(rec, dx, dy, w, alpha, accumulate)
		return
	case v.shader == matmulBackwardThin && backwardThinFits(w, dy):
		matmulBackwardThinPieces(rec, dx, dy, w, alpha, accumulate)
		return
	case v.shader == matmulBackwardTiled && tilesFit(rec, dy.Cols):
		matmulBackwardTiles(rec, dx, dy, w, v, alpha, accumulate)
		return
	case v.shader == matmulBackwardNarrow, v.shader == matmulBackwardThin, v.shader == matmulBackwardTiled:
		v = backwardRegisters(16, 1)
	}
	spec := v.shader.spec(with(v.constants, "BF16", flag(w.DType == gpu.BF16)))
	if v.shader == matmulBackwardUniform {
		matmulBackwardChunks(rec, dx, dy, w, spec, v.outputs, alpha, accumulate)
		return
	}
	colTiles := ceilDiv(w.Cols, v.outputs)
	for _, s := range w.Shards {
		for first := s.Row; first < s.Row+s.Rows; first += backwardRows {
			rows := min(backwardRows, s.Row+s.Rows-first)
			part := gpu.Range{Buffer: s.Range.Buffer, Offset: s.Range.Offset + w.DType.Size((first-s.Row)*w.Cols), Size: w.DType.Size(rows * w.Cols)}
			rec.Dispatch(spec, colTiles*ceilDiv(dx.Rows, v.tokens), int64(2*dx.Rows)*int64(rows)*int64(w.Cols), matmulBackwardParams{
				Tokens: uint32(dx.Rows), Rows: uint32(rows), Cols4: uint32(w.Cols / 4), DyStride4: uint32(dy.Cols / 4), DyFirst4: uint32(first / 4),
				ColTiles: uint32(colTiles), Accumulate: flag(accumulate || first > 0), Alpha: alpha,
			}, dy.Single(), part, dx.Single())
		}
	}
}

// backwardRows is how many rows a dispatch sums over: a multiple of 256, where a cut changes no byte. Software Vulkan ends the loops of an invocation after 65,535 rounds, inner and outer ones
// counted together, and tells nobody; over a vocabulary of 49,152 rows the larger tile in workgroup memory takes more.
const backwardRows = 1 << 14

type matmulBackwardUniformParams struct {
	Tokens, Rows, Cols4, FirstRow, EndRow, WindowFirst, FirstToken, Accumulate uint32
	Alpha                                                                      float32
}

var matmulBackwardUniform = define("matmul_backward_uniform", "uiw", matmulBackwardUniformParams{})

// matmulBackwardChunks is the input's gradient with dy in uniform arrays. A chunk of dy's columns may reach over two shards of w.
func matmulBackwardChunks(rec *gpu.Recorder, dx, dy, w *gpu.Tensor, spec gpu.KernelSpec, outputs int, alpha float32, accumulate bool) {
	p := packChunks(rec, scratchWide, dy)
	for _, s := range w.Shards {
		for first := s.Row; first < s.Row+s.Rows; {
			chunk := first / uniformColumns
			end := min((chunk+1)*uniformColumns, s.Row+s.Rows)
			for t := 0; t < dx.Rows; t += uniformTokens {
				tile, tokens := windowTile(spec, dx.Rows-t)
				rec.Dispatch(tile, ceilDiv(w.Cols, outputs), int64(2*tokens)*int64(end-first)*int64(w.Cols), matmulBackwardUniformParams{
					Tokens: uint32(dx.Rows), Rows: uint32(s.Rows), Cols4: uint32(w.Cols / 4), FirstRow: uint32(first - s.Row), EndRow: uint32(end - s.Row),
					WindowFirst: uint32(first - chunk*uniformColumns), FirstToken: uint32(t), Accumulate: flag(accumulate || first > 0), Alpha: alpha,
				}, p.window(chunk, t), s.Range, dx.Single())
			}
			first = end
		}
	}
}

type matmulGradientParams struct {
	Tokens, Rows4, Cols4, ColTiles uint32
	Alpha                          float32
}

var matmulGradientRegisters = define("matmul_gradient_registers", "iiw", matmulGradientParams{})

var matmulGradientVariants = []variant{
	gradientRegisters(1, 1), gradientRegisters(4, 1), gradientRegisters(4, 4),
	{"uniform_16x1", matmulGradientUniform, nil, gradientTokens, 32, 1},
	gradientTiled(16, 4), gradientTiled(4, 16),
}

func gradientRegisters(n, k int) variant {
	return variant{registersName(n, k), matmulGradientRegisters, map[string]uint32{"TILE_N": uint32(n), "TILE_K": uint32(k)}, 4 * n, 32 * k, 1}
}

// MatmulGradient is dw [N, K] += alpha · dyᵀ [N, T] x [T, K]. N and K are multiples of 4.
func MatmulGradient(rec *gpu.Recorder, dw, dy, x *gpu.Tensor, alpha float32) {
	const op = "matmul_gradient"
	require(dw.Rows == dy.Cols && dw.Cols == x.Cols && dy.Rows == x.Rows && dw.Rows%4 == 0 && dw.Cols%4 == 0, op,
		"dw is %d×%d, dy %d×%d, x %d×%d", dw.Rows, dw.Cols, dy.Rows, dy.Cols, x.Rows, x.Cols)
	fallback := gradientTiledFallback(dw.Rows, dw.Cols)
	if onCPU(rec) {
		fallback = "uniform_16x1"
	}
	v := pickVariant(rec, op, matmulGradientVariants, dy.Rows, dw.Rows, dw.Cols, fallback)
	if v.shader == matmulGradientUniform {
		if gradientUniformFits(dw) {
			matmulGradientChunks(rec, dw, dy, x, alpha)
			return
		}
		v = gradientRegisters(4, 4)
	}
	if v.shader == matmulGradientTiled {
		matmulGradientTiles(rec, dw, dy, x, v, alpha)
		return
	}
	colTiles := ceilDiv(dw.Cols, v.outputs)
	rec.Dispatch(v.shader.spec(v.constants), colTiles*ceilDiv(dw.Rows, v.tokens), int64(2*dy.Rows)*int64(dw.Rows)*int64(dw.Cols), matmulGradientParams{
		Tokens: uint32(dy.Rows), Rows4: uint32(dw.Rows / 4), Cols4: uint32(dw.Cols / 4), ColTiles: uint32(colTiles), Alpha: alpha,
	}, dy.Single(), x.Single(), dw.Single())
}
