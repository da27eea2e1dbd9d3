package kernels

import (
	"fmt"

	"qlora-wgpu/gpu"
)

// The plain products with activations in uniform arrays, for CPU devices.

type matmulForwardUniformParams struct {
	Tokens, Rows, Cols4, YStride, YFirst, FirstToken, FirstCol4, EndCol4, Accumulate uint32
	Alpha                                                                            float32
}

type matmulBackwardUniformParams struct {
	Tokens, Rows, Cols4, FirstRow, EndRow, WindowFirst, FirstToken, Accumulate uint32
	Alpha                                                                      float32
}

var (
	matmulForwardUniform  = define("matmul_forward_uniform", "uiw", matmulForwardUniformParams{})
	matmulBackwardUniform = define("matmul_backward_uniform", "uiw", matmulBackwardUniformParams{})
)

// uniformVariant is a shader over a window of ChunkTokens and so many units of outputs, each of unit elements.
func uniformVariant(s *shader, constant string, n, unit int) Variant {
	return Variant{
		Name: fmt.Sprintf("uniform_%dx%d", ChunkTokens, n), Tolerance: productTolerance, made: cpus, parts: 1, shaders: []*shader{s},
		constants: map[string]uint32{"TILE_T": ChunkTokens, constant: uint32(n)}, tokens: ChunkTokens, outputs: unit * n,
	}
}

func forwardUniform(q int) variant[product] {
	return variant[product]{Variant: uniformVariant(matmulForwardUniform, "TILE_Q", q, 32), run: product.forwardByChunks}
}

func backwardUniform(k int) variant[product] {
	return variant[product]{Variant: uniformVariant(matmulBackwardUniform, "TILE_K", k, 32), run: product.backwardByChunks}
}

// forwardByChunks has x in uniform arrays.
func (p product) forwardByChunks(rec *gpu.Recorder, v *Variant) {
	x, y, w := p.x, p.y, p.w
	spec := v.specFor(w)
	packed := packChunks(rec, scratchWide, x)
	for _, s := range w.Shards {
		for chunk := 0; chunk*ChunkColumns < w.Cols; chunk++ {
			first, end := chunk*ChunkColumns, min((chunk+1)*ChunkColumns, w.Cols)
			for t := 0; t < x.Rows; t += ChunkTokens {
				tile, tokens := windowTile(spec, x.Rows-t)
				rec.Dispatch(tile, ceilDiv(s.Rows, v.outputs), flops(tokens, s.Rows, end-first), matmulForwardUniformParams{
					Tokens: uint32(x.Rows), Rows: uint32(s.Rows), Cols4: uint32(w.Cols / 4), YStride: uint32(y.Cols), YFirst: uint32(s.Row),
					FirstToken: uint32(t), FirstCol4: uint32(first / 4), EndCol4: uint32(end / 4),
					Accumulate: flag(p.accumulate || chunk > 0), Alpha: p.alpha,
				}, packed.window(chunk, t), s.Range, y.Single())
			}
		}
	}
}

// backwardByChunks has dy in uniform arrays. A chunk of dy's columns may reach over two shards of w.
func (p product) backwardByChunks(rec *gpu.Recorder, v *Variant) {
	dx, dy, w := p.x, p.y, p.w
	spec := v.specFor(w)
	packed := packChunks(rec, scratchWide, dy)
	for _, s := range w.Shards {
		for first := s.Row; first < s.Row+s.Rows; {
			chunk := first / ChunkColumns
			end := min((chunk+1)*ChunkColumns, s.Row+s.Rows)
			for t := 0; t < dx.Rows; t += ChunkTokens {
				tile, tokens := windowTile(spec, dx.Rows-t)
				rec.Dispatch(tile, ceilDiv(w.Cols, v.outputs), flops(tokens, end-first, w.Cols), matmulBackwardUniformParams{
					Tokens: uint32(dx.Rows), Rows: uint32(s.Rows), Cols4: uint32(w.Cols / 4),
					FirstRow: uint32(first - s.Row), EndRow: uint32(end - s.Row), WindowFirst: uint32(first - chunk*ChunkColumns),
					FirstToken: uint32(t), Accumulate: flag(p.accumulate || first > 0), Alpha: p.alpha,
				}, packed.window(chunk, t), s.Range, dx.Single())
			}
			first = end
		}
	}
}
