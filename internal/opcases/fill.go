package opcases

import (
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
)

var _ = register(fill)

func fill() (cases []Case) {
	// A workgroup takes 1024 elements.
	for _, s := range [][2]int{{1, 1}, {1, 1023}, {2, 512}, {5, 205}, {130, 576}} {
		R, C := s[0], s[1]
		cases = append(cases, Case{Op: "fill", Shape: fmt.Sprintf("R=%d C=%d", R, C), Run: func(b *Bench) {
			want := make([]float64, R*C)
			for i := range want {
				want[i] = -0.75
			}
			y := b.Output("y", R, C, nil, want, 1e-14) // a copy: exact
			b.Record(func() { kernels.Fill(b.Rec, y, -0.75) })
		}})
	}
	cases = append(cases, Case{Op: "fill", Shape: "R=256 C=64 in 4 shards", Run: func(b *Bench) {
		const R, C, rows = 256, 64, 64
		want := make([]float64, R*C)
		y := b.Output("y", R, C, nil, want, 1e-14) // a copy: exact
		sharded := &gpu.Tensor{Name: "y", DType: gpu.F32, Rows: R, Cols: C}
		for row := 0; row < R; row += rows {
			sharded.Shards = append(sharded.Shards, gpu.Shard{Range: y.Slice(row, rows).Single(), Row: row, Rows: rows})
		}
		b.Record(func() { kernels.Fill(b.Rec, sharded, 0) })
	}})
	return cases
}
