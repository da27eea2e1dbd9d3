package reference

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCrossEntropy(t *testing.T) {
	losses, dlogits := CrossEntropy([]float64{0, math.Log(3), 1e4, 1e4}, []uint32{0, 1}, 2)
	requireClose(t, []float64{math.Log(4), math.Log(2)}, losses)
	requireClose(t, []float64{-0.75, 0.75, 0.5, -0.5}, dlogits)

	const s, v = 4, 9
	logits, targets := random(1, s*v), []uint32{0, 8, 3, 3}
	_, dlogits = CrossEntropy(logits, targets, v)
	requireGradient(t, dlogits, logits, func() float64 {
		losses, _ := CrossEntropy(logits, targets, v)
		sum := 0.0
		for _, l := range losses {
			sum += l
		}
		return sum
	})
	require.Panics(t, func() { CrossEntropy(logits, []uint32{0, 9, 3, 3}, v) })
}
