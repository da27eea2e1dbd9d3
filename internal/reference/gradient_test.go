package reference

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

func random(seed uint64, n int) []float64 {
	rng := rand.New(rand.NewPCG(seed, 0))
	x := make([]float64, n)
	for i := range x {
		x[i] = rng.NormFloat64()
	}
	return x
}

// requireGradient compares a backward with central differences of loss over every element of x, of two widths, so
// that third derivatives cancel. The bound is relative to the gradient's largest element; the differences themselves
// are good to about 1e-9 of it.
func requireGradient(t *testing.T, gradient, x []float64, loss func() float64) {
	t.Helper()
	require.Len(t, gradient, len(x))
	largest := 0.0
	for _, g := range gradient {
		largest = max(largest, math.Abs(g))
	}
	require.Greater(t, largest, 1e-3, "a gradient of zeros shows nothing")
	const h = 1e-4
	for i, saved := range x {
		difference := func(h float64) float64 {
			x[i] = saved + h
			above := loss()
			x[i] = saved - h
			below := loss()
			return (above - below) / (2 * h)
		}
		want := (4*difference(h) - difference(2*h)) / 3
		x[i] = saved
		require.InDelta(t, want, gradient[i], 1e-7*largest, "element %d", i)
	}
}

func requireClose(t *testing.T, want, got []float64) {
	t.Helper()
	require.InDeltaSlice(t, want, got, 1e-12)
}
