package reference

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSwiGLU(t *testing.T) {
	// sigmoid(log 3) = 3/4
	g := math.Log(3)
	requireClose(t, []float64{1.5 * g, 0}, SwiGLUForward([]float64{g, 0}, []float64{2, 5}))
	dgate, dup := SwiGLUBackward([]float64{1, 1}, []float64{g, 0}, []float64{2, 5})
	requireClose(t, []float64{1.5 * (1 + g/4), 2.5}, dgate)
	requireClose(t, []float64{0.75 * g, 0}, dup)

	gate, up, dy := random(1, 40), random(2, 40), random(3, 40)
	gate[0], gate[1] = 12, -12
	loss := func() float64 { return dot(dy, SwiGLUForward(gate, up)) }
	dgate, dup = SwiGLUBackward(dy, gate, up)
	requireGradient(t, dgate, gate, loss)
	requireGradient(t, dup, up, loss)

	y := SwiGLUForward([]float64{1000, -1000}, []float64{1, 1})
	require.Equal(t, []float64{1000, 0}, []float64{y[0], math.Abs(y[1])})
}

func TestGEGLU(t *testing.T) {
	requireClose(t, []float64{0, 0}, GEGLUForward([]float64{0, -100}, []float64{2, 5}))
	// PyTorch's gelu(approximate="tanh") in float64.
	y := GEGLUForward([]float64{1, -0.5}, []float64{1, 2})
	require.InDeltaSlice(t, []float64{0.8411919906082768, -0.3085719803497121}, y, 1e-12)

	gate, up, dy := random(1, 40), random(2, 40), random(3, 40)
	loss := func() float64 { return dot(dy, GEGLUForward(gate, up)) }
	dgate, dup := GEGLUBackward(dy, gate, up)
	requireGradient(t, dgate, gate, loss)
	requireGradient(t, dup, up, loss)
}
