package kernels

import "qlora-wgpu/gpu"

type crossEntropyParams struct {
	Vocab, Stride4, First uint32
}

var crossEntropyForwardBackward = define("cross_entropy_forward_backward", "iwww", crossEntropyParams{})

// CrossEntropyForwardBackward turns logits into the gradient of the sum of losses. With logits [S, stride], of which the first vocab columns count
// and stride is a multiple of 4, and targets U32 [1, >= first+S]:
//
//	losses[first+s] = log(sum_v exp(logits[s, v])) - logits[s, targets[first+s]]
//	hits[first+s]   = 1 where targets[first+s] is the argmax of row s (the lowest index among equals), else 0
//	logits[s, v]    = softmax(logits[s, :])[v] - (v == targets[first+s]); 0 in the columns from vocab on
//
// losses and hits are F32 [1, >= first+S]. A non-finite logit makes the row's loss non-finite.
func CrossEntropyForwardBackward(rec *gpu.Recorder, logits *gpu.Tensor, vocab int, targets, losses, hits *gpu.Tensor, first int) {
	crossEntropy(rec, logits, vocab, targets, losses, hits, first, map[string]uint32{"GRADIENT": 1}, 40)
}

// CrossEntropyForward writes losses and hits as [CrossEntropyForwardBackward] does and leaves logits as they are.
func CrossEntropyForward(rec *gpu.Recorder, logits *gpu.Tensor, vocab int, targets, losses, hits *gpu.Tensor, first int) {
	crossEntropy(rec, logits, vocab, targets, losses, hits, first, map[string]uint32{"GRADIENT": 0}, 20)
}

func crossEntropy(rec *gpu.Recorder, logits *gpu.Tensor, vocab int, targets, losses, hits *gpu.Tensor, first int, constants map[string]uint32, flops int64) {
	const name = "cross_entropy_forward_backward"
	S, stride := logits.Rows, logits.Cols
	require(stride%4 == 0, name, "%d columns of logits are no multiple of 4", stride)
	require(0 < vocab && vocab <= stride, name, "vocabulary of %d in %d columns of logits", vocab, stride)
	for _, t := range []*gpu.Tensor{targets, losses, hits} {
		require(t.Rows == 1 && first >= 0 && t.Cols >= first+S, name, "%s is %d×%d, rows %d to %d are wanted", t.Name, t.Rows, t.Cols, first, first+S)
	}
	rec.Dispatch(crossEntropyForwardBackward.spec(constants), S, flops*int64(S)*int64(stride),
		crossEntropyParams{uint32(vocab), uint32(stride / 4), uint32(first)}, targets.Single(), logits.Single(), losses.Single(), hits.Single())
}
