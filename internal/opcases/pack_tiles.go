package opcases

import (
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
)

var _ = register(packTiles)

func packTiles() (cases []Case) {
	// Around a block of 64 tokens × 16 columns.
	for _, s := range [][2]int{{1, 4}, {63, 16}, {65, 84}, {130, 576}} {
		T, C := s[0], s[1]
		cases = append(cases, Case{Op: "pack_tiles_forward", Shape: fmt.Sprintf("T=%d C=%d", T, C), Run: func(b *Bench) {
			x := b.Values(T*C, 1)
			const tokens, columns = kernels.BlockTokens, kernels.BlockColumns
			blocks, padded := (T+tokens-1)/tokens, (C+columns-1)/columns*columns
			want := make([]float64, blocks*padded*tokens)
			for t := range T {
				for c := range C {
					want[(t/tokens*padded+c)*tokens+t%tokens] = float64(x[t*C+c])
				}
			}
			in := b.Input("x", gpu.F32, T, C, x)
			out := b.Output("packed", blocks*padded, tokens, nil, want, 1e-14) // a copy: exact
			b.Record(func() {
				packed := kernels.PackTilesForward(b.Rec, in)
				b.Rec.Copy(gpu.Range{Buffer: out.Single().Buffer, Size: packed.Size}, packed)
			})
		}})
	}
	return cases
}
