package reference

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAdamWByHand(t *testing.T) {
	s := AdamWSettings{LearningRate: 0.1, Beta1: 0.9, Beta2: 0.99, Eps: 0.5, WeightDecay: 0.2}
	param, m, v := []float64{2}, []float64{0}, []float64{0}
	// Step 1: decay to 1.96; m = 0.3, v = 0.09; unbiased 3 and 9; 1.96 - 0.1*3/(3+0.5).
	AdamW(param, []float64{3}, m, v, s, 1)
	requireClose(t, []float64{0.3}, m)
	requireClose(t, []float64{0.09}, v)
	requireClose(t, []float64{1.96 - 0.3/3.5}, param)
	// Step 2: m = 0.27 - 0.1 = 0.17, v = 0.0891 + 0.01 = 0.0991; corrections 0.19 and 0.0199.
	before := param[0]
	AdamW(param, []float64{-1}, m, v, s, 2)
	requireClose(t, []float64{0.17}, m)
	requireClose(t, []float64{0.0991}, v)
	// sqrt(0.0991/0.0199) = 2.23157...
	require.InDelta(t, before*0.98-0.1*(0.17/0.19)/(2.231568+0.5), param[0], 1e-6)
}

// Without decay the first step moves each parameter by lr against its gradient's sign, whatever its size.
func TestAdamWFirstStep(t *testing.T) {
	param, grad := []float64{1, 1, 1}, []float64{1e-3, -5, 0}
	AdamW(param, grad, make([]float64, 3), make([]float64, 3), AdamWSettings{LearningRate: 0.01, Beta1: 0.9, Beta2: 0.999, Eps: 1e-12}, 1)
	require.InDeltaSlice(t, []float64{0.99, 1.01, 1}, param, 1e-9)
}

// It finds the minimum of a quadratic.
func TestAdamWConverges(t *testing.T) {
	param, m, v := []float64{5, -3}, make([]float64, 2), make([]float64, 2)
	for step := 1; step <= 2000; step++ {
		grad := []float64{2 * (param[0] - 1), 20 * (param[1] - 2)}
		AdamW(param, grad, m, v, AdamWSettings{LearningRate: 0.02, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8}, step)
	}
	require.InDeltaSlice(t, []float64{1, 2}, param, 1e-3)
}
