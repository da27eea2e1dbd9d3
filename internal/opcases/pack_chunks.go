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
			padded, chunks := (T+31)/32*32, (C+511)/512
			want := make([]float64, chunks*padded*512)
			for t := range T {
				for c := range C {
					want[(c/512*padded+t)*512+c%512] = float64(x[t*C+c])
				}
			}
			in := b.Input("x", gpu.F32, T, C, x)
			out := b.Output("packed", chunks*padded, 512, make([]float32, len(want)), want, 1e-14) // a copy: exact
			b.Record(func() {
				packed := kernels.PackChunksForward(b.Rec, in)
				for row := range chunks * padded { // beyond the last column there is anything
					at := int64(4 * 512 * row)
					size := int64(4 * min(512, C-row/padded*512))
					b.Rec.Copy(gpu.Range{Buffer: out.Single().Buffer, Offset: at, Size: size}, gpu.Range{Buffer: packed.Buffer, Offset: packed.Offset + at, Size: size})
				}
			})
		}})
	}
	return cases
}
