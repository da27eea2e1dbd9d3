package reference

import "math"

// CrossEntropy: losses[s] = log(sum_v exp(logits[s, v])) - logits[s, targets[s]] and dlogits = softmax(logits) -
// onehot, the gradient of the sum of losses, not of their mean. logits and dlogits are [S, V], targets and losses are
// [S].
func CrossEntropy(logits []float64, targets []uint32, v int) (losses, dlogits []float64) {
	wantLen("logits", len(logits), len(targets), v)
	losses, dlogits = make([]float64, len(targets)), make([]float64, len(logits))
	for s, target := range targets {
		row, drow := logits[s*v:s*v+v], dlogits[s*v:s*v+v]
		largest := math.Inf(-1)
		for _, x := range row {
			largest = max(largest, x)
		}
		sum := 0.0
		for i, x := range row {
			drow[i] = math.Exp(x - largest)
			sum += drow[i]
		}
		for i := range drow {
			drow[i] /= sum
		}
		drow[target]--
		losses[s] = largest + math.Log(sum) - row[target]
	}
	return losses, dlogits
}
