package opcases

import (
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
)

var _ = register(packChunks)

func packChunks() (cases []Case) {
	// Around a window of 32 tokens × 512 columns.
	for _, s := range [][2]int{{1, 4}, {31, 512}, {33, 516}, {64, 1536}} {
		T, C := s[0], s[1]
		cases = append(cases, Case{Op: "pack_chunks_forward", Shape: fmt.Sprintf("T=%d C=%d", T, C), Run: func(b *Bench) {
			x := b.Values(T*C, 1)
			const tokens, columns = kernels.ChunkTokens, kernels.ChunkColumns
			padded, chunks := (T+tokens-1)/tokens*tokens, (C+columns-1)/columns
			want := make([]float64, chunks*padded*columns)
			for t := range T {
				for c := range C {
					want[(c/columns*padded+t)*columns+c%columns] = float64(x[t*C+c])
				}
			}
			in := b.Input("x", gpu.F32, T, C, x)
			out := b.Output("packed", chunks*padded, columns, make([]float32, len(want)), want, 1e-14) // a copy: exact
			b.Record(func() {
				packed := kernels.PackChunksForward(b.Rec, in)
				for row := range chunks * padded { // beyond the last column there is anything
					at := int64(4 * columns * row)
					size := int64(4 * min(columns, C-row/padded*columns))
					from := gpu.Range{Buffer: packed.Buffer, Offset: packed.Offset + at, Size: size}
					b.Rec.Copy(gpu.Range{Buffer: out.Single().Buffer, Offset: at, Size: size}, from)
				}
			})
		}})
	}
	return cases
}
