package opcases

import (
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
)

var _ = register(lossSum)

func lossSum() (cases []Case) {
	for _, count := range []int{1, 255, 256, 257, 5000} {
		cases = append(cases, Case{Op: "loss_sum", Shape: fmt.Sprintf("count=%d", count), Run: func(b *Bench) {
			// Three elements behind count must not be added. Hits are whole numbers, so their sum is exact.
			losses, hits := b.Values(count+3, 1), make([]float32, count+3)
			wantLoss, wantHits := 0.0, 0.0
			for i := range losses {
				losses[i] = losses[i]*losses[i] + 2
				hits[i] = float32(b.Intn(2))
				if i < count {
					wantLoss += float64(losses[i])
					wantHits += float64(hits[i])
				}
			}
			l, h := b.Input("losses", gpu.F32, 1, count+3, losses), b.Input("hits", gpu.F32, 1, count+3, hits)
			stats := b.Input("stats", gpu.F32, 1, kernels.StatCount, make([]float32, kernels.StatCount))
			// Sums of up to 5000 in float32 by tree and again by the second micro-batch: 1e-7 relative, squared.
			loss := b.stat(stats, "loss", kernels.StatLoss, 2*wantLoss, 1e-13)
			hit := b.stat(stats, "hits", kernels.StatHits, 2*wantHits, exact)
			b.Record(func() {
				kernels.LossSum(b.Rec, stats, l, h, count)
				kernels.LossSum(b.Rec, stats, l, h, count)
				loss()
				hit()
			})
		}})
	}
	return cases
}

// stat declares an output for one of the step's statistics, so that each has a tolerance of its own, and returns what
// records its copy.
func (b *Bench) stat(stats *gpu.Tensor, name string, index int, want, allowance float64) (record func()) {
	t := b.Output(name, 1, 1, nil, []float64{want}, allowance)
	return func() {
		from, to := stats.Single(), t.Single()
		from.Offset, from.Size = from.Offset+int64(4*index), 4
		to.Size = 4
		b.Rec.Copy(to, from)
	}
}
