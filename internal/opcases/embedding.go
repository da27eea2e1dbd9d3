package opcases

import (
	"fmt"
	"math"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/reference"
)

var _ = register(embedding)

func embedding() (cases []Case) {
	// A workgroup takes 256 vec4, which 16 rows of 64 columns fill; shards hold 64 rows, so that 64, 65 and 200 rows make
	// 1, 2 and 4.
	for _, s := range [][3]int{{1, 4, 3}, {15, 64, 64}, {16, 64, 65}, {17, 64, 200}, {37, 576, 200}} {
		T, C, V := s[0], s[1], s[2]
		cases = append(cases, Case{Op: "embedding_forward", Shape: fmt.Sprintf("T=%d C=%d V=%d", T, C, V), Run: func(b *Bench) {
			values := b.Values(V*C, 1)
			for i, v := range values {
				values[i] = math.Float32frombits(math.Float32bits(v) &^ 0xffff)
			}
			ids, clamped := make([]uint32, T), make([]uint32, T)
			for t := range ids {
				ids[t] = uint32(b.Intn(V))
				clamped[t] = ids[t]
			}
			ids[0], clamped[0] = uint32(V), uint32(V-1)
			limit := b.Dev.Limits.MaxBindingBytes
			b.Dev.Limits.MaxBindingBytes = 64 * gpu.BF16.Size(C)
			table := b.Input("table", gpu.BF16, V, C, values)
			b.Dev.Limits.MaxBindingBytes = limit
			// A copy: exact.
			x := b.Output("x", T, C, nil, reference.EmbeddingForward(clamped, float64s(values), C), 1e-14)
			i := b.InputU32("ids", ids)
			b.Record(func() { kernels.EmbeddingForward(b.Rec, x, table, i) })
		}})
	}
	return cases
}
