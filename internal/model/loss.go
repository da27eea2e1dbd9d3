package model

import (
	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
)

// Loss is what is computed of the supervised tokens' logits: a value that a pass carries to the head. The head has the
// logits of some rows at a time, of S in all, hands them over in order, and sums up the losses.
type Loss interface {
	// Rows records the losses of some rows. With gradient, their logits become the gradient of the sum of losses. A loss
	// whose rows have weights, or that looks at log-probabilities of another pass, holds those itself, [1, S] in the order
	// of Targets.
	Rows(rec *gpu.Recorder, rows LossRows, gradient bool)
}

// LossRows are n neighbouring rows of a micro-batch's S supervised tokens.
type LossRows struct {
	Logits  *gpu.Tensor // [n, V padded], of which Vocab columns count
	Vocab   int
	SoftCap float32     // that the logits have; their gradient is that of what they were before. 0: none
	First   int         // the first row's place among the S
	Targets *gpu.Tensor // U32 [1, S]: the ids to predict
	Losses  *gpu.Tensor // F32 [1, S], to be written from First on; the cross-entropy's are the negative log-probabilities
	Hits    *gpu.Tensor // F32 [1, S], the same: 1 where the target is the likeliest token, else 0
}

// CrossEntropy is the loss of language models: the negative log-probability of each target.
type CrossEntropy struct{}

// Rows implements Loss.
func (CrossEntropy) Rows(rec *gpu.Recorder, r LossRows, gradient bool) {
	record := kernels.CrossEntropyForward
	if gradient {
		record = kernels.CrossEntropyForwardBackward
	}
	record(rec, kernels.CrossEntropy{
		Logits: r.Logits, Vocab: r.Vocab, Targets: r.Targets, Losses: r.Losses, Hits: r.Hits, First: r.First, SoftCap: r.SoftCap,
	})
}
