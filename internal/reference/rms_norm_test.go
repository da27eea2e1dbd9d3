package reference

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRMSNorm(t *testing.T) {
	// mean(x^2) = (9+16)/2 = 12.5, plus eps 3.5 is 16
	y, inv := RMSNormForward([]float64{3, 4}, []float64{2, -1}, 3.5)
	requireClose(t, []float64{1.5, -1}, y)
	requireClose(t, []float64{0.25}, inv)
	// inv = 1/4, mean(w*dy*x) = 3, so dx = (2 - 3*3/16, 0 - 4*3/16) / 4
	requireClose(t, []float64{(2 - 9.0/16) / 4, -0.1875}, RMSNormBackward([]float64{1, 0}, []float64{3, 4}, []float64{2, -1}, 3.5))

	x, weight, dy := random(1, 3*7), random(2, 7), random(3, 3*7)
	requireGradient(t, RMSNormBackward(dy, x, weight, 0.1), x, func() float64 {
		y, _ := RMSNormForward(x, weight, 0.1)
		return dot(dy, y)
	})
	_, inv = RMSNormForward(x, weight, 1e-5)
	require.InDelta(t, 1/math.Sqrt(dot(x[7:14], x[7:14])/7+1e-5), inv[1], 1e-12)
	require.Panics(t, func() { RMSNormForward(make([]float64, 8), weight, 0) })
}
