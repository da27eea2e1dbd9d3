package kernels

import "qlora-wgpu/gpu"

// A step's statistics are one F32 tensor [1, StatCount], zeroed by an upload before the step's first micro-batch and
// read once after its update.
const (
	// StatLoss and StatHits are the sums of losses and hits of the step's target tokens; every micro-batch adds its own.
	StatLoss = iota
	StatHits
	// StatGradNorm is the norm of the scaled gradient before clipping; non-finite elements count as 0.
	StatGradNorm
	// StatScale is what the update multiplies gradients by: scale and clipping. StatSkip is 1 where the update is skipped
	// since the loss, a gradient or their norm is not finite, else 0.
	StatScale
	StatSkip
	// StatBad is the number of the first block of 256 gradient elements that holds a NaN or an infinity, counted through
	// the flat buffers in order; -1: none.
	StatBad

	StatCount = 16
)

type lossSumParams struct{ Count uint32 }

var lossSum = define("loss_sum", "iiw", lossSumParams{})

// LossSum is stats[StatLoss] += sum(losses[0:count]) and stats[StatHits] += sum(hits[0:count]); losses and hits are F32
// [1, >= count].
func LossSum(rec *gpu.Recorder, stats, losses, hits *gpu.Tensor, count int) {
	requireStats("loss_sum", stats)
	for _, t := range []*gpu.Tensor{losses, hits} {
		require(t.Rows == 1 && 0 < count && count <= t.Cols, "loss_sum", "%d elements of %s, which is %d×%d", count, t.Name, t.Rows, t.Cols)
	}
	rec.Dispatch(lossSum.spec(nil), 1, int64(2*count), lossSumParams{Count: uint32(count)}, losses.Single(), hits.Single(), stats.Single())
}

func requireStats(kernel string, stats *gpu.Tensor) {
	require(stats.DType == gpu.F32 && stats.Rows == 1 && stats.Cols == StatCount, kernel,
		"statistics are %d×%d, want 1×%d", stats.Rows, stats.Cols, StatCount)
}
