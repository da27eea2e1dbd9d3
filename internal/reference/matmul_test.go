package reference

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMatmul(t *testing.T) {
	x, w := []float64{1, 2, 3, 4, 5, 6}, []float64{1, 0, -1, 2, 2, 2}
	requireClose(t, []float64{-2 + 10, 12 + 20, -2 + 10, 30 + 20}, MatmulForward(x, w, []float64{10, 20}, 2, 2, 3))
	requireClose(t, []float64{5, 4, 3, 0, 0, 0}, MatmulBackwardInput([]float64{1, 2, 0, 0}, w, 2, 2, 3))
	requireClose(t, []float64{1, 2, 3, -4, -5, -6}, MatmulBackwardWeight([]float64{1, 0, 0, -1}, x, 2, 2, 3))

	const tokens, n, k = 3, 5, 7
	x, w, dy := random(1, tokens*k), random(2, n*k), random(3, tokens*n)
	loss := func() float64 { return dot(dy, MatmulForward(x, w, nil, tokens, n, k)) }
	requireGradient(t, MatmulBackwardInput(dy, w, tokens, n, k), x, loss)
	requireGradient(t, MatmulBackwardWeight(dy, x, tokens, n, k), w, loss)
	require.PanicsWithValue(t, "reference: w has 35 elements, want [5 8]", func() { MatmulForward(make([]float64, 24), w, nil, 3, 5, 8) })
}

func BenchmarkMatmulForward(b *testing.B) {
	x, w := random(1, 64*576), random(2, 1536*576)
	for b.Loop() {
		MatmulForward(x, w, nil, 64, 1536, 576)
	}
	b.ReportMetric(2*64*1536*576*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}

func BenchmarkMatmulBackwardInput(b *testing.B) {
	dy, w := random(1, 64*1536), random(2, 1536*576)
	for b.Loop() {
		MatmulBackwardInput(dy, w, 64, 1536, 576)
	}
	b.ReportMetric(2*64*1536*576*float64(b.N)/b.Elapsed().Seconds()/1e9, "GFLOP/s")
}
