package opcases

import (
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
)

var _ = register(packHeads)

func packHeads() (cases []Case) {
	// Windows of 4,096 vec4: less than one, one and a part, rows that do not fill one (24 vec4 each), groups of one head
	// and of several.
	for _, s := range []struct{ T, H, KVH, D int }{{1, 3, 1, 4}, {100, 9, 3, 64}, {86, 4, 2, 96}, {65, 2, 2, 256}} {
		cases = append(cases, Case{Op: "pack_heads_forward", Shape: fmt.Sprintf("T=%d H=%d/%d D=%d", s.T, s.H, s.KVH, s.D), Run: func(b *Bench) {
			x := b.Values(s.T*s.H*s.D, 1)
			const window = gpu.UniformBytes / 4
			group, each := s.H/s.KVH, window/s.D
			windows := (s.T*group + each - 1) / each
			want := make([]float64, s.KVH*windows*window)
			for t := range s.T {
				for h := range s.H {
					row := t*group + h%group
					nth := h/group*windows + row/each
					for d := range s.D {
						want[nth*window+row%each*s.D+d] = float64(x[(t*s.H+h)*s.D+d])
					}
				}
			}
			in := b.Input("x", gpu.F32, s.T, s.H*s.D, x)
			out := b.Output("packed", s.KVH*windows, window, nil, want, 1e-14) // a copy: exact
			b.Record(func() {
				packed := kernels.PackHeadsForward(b.Rec, in, s.KVH, s.D)
				b.Rec.Copy(gpu.Range{Buffer: out.Single().Buffer, Size: packed.Size}, packed)
			})
		}})
	}
	return cases
}
