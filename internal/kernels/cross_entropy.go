package kernels

import "qlora-wgpu/gpu"

type crossEntropyParams struct {
	Vocab, Stride4, First uint32
	InverseCap            float32
}

var crossEntropyForwardBackward = define("cross_entropy_forward_backward", "iwww", crossEntropyParams{})

// CrossEntropy is a loss over logits F32 [S, stride], of which the first Vocab columns count and stride is a multiple
// of 4. Targets are U32 [1, >= First+S], Losses and Hits F32 of that shape; row s of the logits is element First+s of
// them.
type CrossEntropy struct {
	Logits, Targets, Losses, Hits *gpu.Tensor
	Vocab, First                  int
	SoftCap                       float32 // that SoftCapForward has put on the logits; 0: none
}

// CrossEntropyForwardBackward turns logits into the gradient of the sum of losses:
//
//	losses[first+s] = log(sum_v exp(logits[s, v])) - logits[s, targets[first+s]]
//	hits[first+s]   = 1 where targets[first+s] is the argmax of row s (the lowest index among equals), else 0
//	logits[s, v]    = softmax(logits[s, :])[v] - (v == targets[first+s]); 0 in the columns from vocab on
//
// With a soft cap the gradient is that of the logits before it.
//
// A non-finite logit makes the row's loss non-finite.
func CrossEntropyForwardBackward(rec *gpu.Recorder, c CrossEntropy) { c.record(rec, true, 40) }

// CrossEntropyForward writes losses and hits as [CrossEntropyForwardBackward] does and leaves logits as they are.
func CrossEntropyForward(rec *gpu.Recorder, c CrossEntropy) { c.record(rec, false, 20) }

func (c CrossEntropy) record(rec *gpu.Recorder, gradient bool, flops int64) {
	const name = "cross_entropy_forward_backward"
	S, stride := c.Logits.Rows, c.Logits.Cols
	require(stride%4 == 0, name, "%d columns of logits are no multiple of 4", stride)
	require(0 < c.Vocab && c.Vocab <= stride, name, "vocabulary of %d in %d columns of logits", c.Vocab, stride)
	for _, t := range []*gpu.Tensor{c.Targets, c.Losses, c.Hits} {
		require(t.Rows == 1 && c.First >= 0 && t.Cols >= c.First+S, name,
			"%s is %d×%d, rows %d to %d are wanted", t.Name, t.Rows, t.Cols, c.First, c.First+S)
	}
	inverse := float32(0)
	if c.SoftCap != 0 {
		inverse = 1 / c.SoftCap
	}
	rec.Dispatch(crossEntropyForwardBackward.spec(map[string]uint32{"GRADIENT": flag(gradient)}), S, flops*int64(S)*int64(stride),
		crossEntropyParams{Vocab: uint32(c.Vocab), Stride4: uint32(stride / 4), First: uint32(c.First), InverseCap: inverse},
		c.Targets.Single(), c.Logits.Single(), c.Losses.Single(), c.Hits.Single())
}
