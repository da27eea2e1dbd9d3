package kernels

import "qlora-wgpu/gpu"

// NF4 products of a few tokens, for generation, as matmul_vector.go has the plain ones.

type matmulNF4ForwardVectorUniformParams struct {
	FirstRow, EndRow, Piece, Parts, Cols32, XFirst4, YFirst, Bias uint32
	Offset                                                        float32
	CodesFirst, NestedFirst, FirstBlock, Shifts                   uint32
	FirstW0, FirstW1, FirstW2, FirstW3, FirstW4, FirstW5, FirstW6 uint32
}

var (
	matmulNF4ForwardVector        = define("matmul_nf4_forward_vector", "riw", matmulNF4ForwardParams{})
	matmulNF4ForwardVectorUniform = define("matmul_nf4_forward_vector_uniform", "ruuuuuuuuuuuw", matmulNF4ForwardVectorUniformParams{})
)

var nf4Vectors = []variant[nf4Product]{
	variant[nf4Product]{Variant: vectorVariant(matmulNF4ForwardVector, "vector_1", 1), run: nf4Product.forwardByShards}.forFew(),
	variant[nf4Product]{Variant: vectorVariant(matmulNF4ForwardVector, "vector_4", 4), run: nf4Product.forwardByShards}.forFew(),
	variant[nf4Product]{
		Variant: vectorUniformVariant(matmulNF4ForwardVectorUniform, nil), run: nf4Product.forwardByWindows,
	}.forFew().orElse(nf4Product.codesInWindows, "registers_4x2"),
}

// codesInWindows: 32 codes share an absmax and begin at a multiple of 16 bytes, and a token's x lies in one window.
func (p nf4Product) codesInWindows(*gpu.Device, *Variant) bool {
	w := p.w
	return w.K%32 == 0 && w.BlockSize >= 32 && w.K <= windowElements && w.rowsOfCodes() >= vectorWindows
}

func (p nf4Product) forwardByWindows(rec *gpu.Recorder, v *Variant) {
	x, w := p.x, p.w
	flat := packFlat(rec, x)
	for _, s := range w.Shards {
		m := matrixRows{
			buffer: s.Region.Buffer, at: s.Region.Offset + 4*int64(s.Packed), rowBytes: int64(w.K / 2),
			rows: s.Rows, most: w.rowsOfCodes() / vectorWindows, outputs: v.outputs,
		}
		m.windows(func(ws windows) {
			scales, parts := w.scales(s, ws.first), ws.parts(w.K/32)
			for t := range x.Rows {
				xs, skip := flat.UniformWindow(gpu.F32.Size(t * x.Cols))
				ranges := append([]gpu.Range{s.Region, scales.maps, scales.codes, scales.nested, xs}, ws.ranges[:]...)
				rec.Dispatch(v.spec(), ws.groups(v.outputs, parts), flops(1, ws.end-ws.first, w.K), matmulNF4ForwardVectorUniformParams{
					FirstRow: uint32(ws.first), EndRow: uint32(ws.end), Piece: uint32(ws.piece), Parts: uint32(parts), Cols32: uint32(w.K / 32),
					XFirst4: uint32(skip / 16), YFirst: uint32(t*w.N + s.Row), Bias: s.Bias, Offset: s.Offset,
					CodesFirst: scales.codesFirst, NestedFirst: scales.nestedFirst, FirstBlock: s.FirstBlock, Shifts: w.shifts(),
					FirstW0: ws.begins[0], FirstW1: ws.begins[1], FirstW2: ws.begins[2], FirstW3: ws.begins[3],
					FirstW4: ws.begins[4], FirstW5: ws.begins[5], FirstW6: ws.begins[6],
				}, append(ranges, p.y.Single())...)
			}
		})
	}
}
