package reference

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/doublequant"
)

func TestNearestEntry(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	check := func(entries *[256]float32, x float64) {
		best := math.Inf(1)
		for _, e := range entries {
			best = min(best, math.Abs(x-float64(e)))
		}
		require.InDelta(t, best, math.Abs(x-float64(entries[nearestEntry(entries, x*3, 3)])), 1e-15, "%v", x)
	}
	for range 10000 {
		x := rng.Float64() * math.Pow(10, -7*rng.Float64())
		check(&doublequant.UnsignedMap, x)
		check(&doublequant.SignedMap, x)
		check(&doublequant.SignedMap, -x)
	}
}

func TestAdamW8bitByHand(t *testing.T) {
	s := AdamWSettings{LearningRate: 0.1, Beta1: 0.9, Beta2: 0.99, Eps: 0.5, WeightDecay: 0.2}
	// Two blocks: what lies in one does not touch the other.
	param, grad, moments := make([]float64, 258), make([]float64, 258), NewMoments8(258)
	param[0], grad[0] = 2, 3
	grad[1], grad[2] = -3e-9, 3e-9
	param[257], grad[257] = 1, -1e-4
	AdamW8bit(param, grad, moments, s, 1)
	require.InDelta(t, (2-0.1*3/(3+0.5))*0.98, param[0], 1e-12, "decay comes after the update")
	require.InDelta(t, (1+0.1*1e-4/(1e-4+0.5))*0.98, param[257], 1e-12)
	require.InDelta(t, 0.3, moments.LargestM[0], 1e-12)
	require.InDelta(t, 0.09, moments.LargestV[0], 1e-12)
	require.InDelta(t, 1e-5, moments.LargestM[1], 1e-12)
	require.Equal(t, []byte{255, 126, 127, 127}, moments.M[:4], "the largest, a tiny negative, a tiny positive, zero")
	require.Equal(t, []byte{255, 0, 0, 0}, moments.V[:4])
	m, v := moments.Decode()
	require.InDelta(t, -1e-5, m[257], 1e-7, "the map has no -1, its lowest entry is -0.993")
	require.InDelta(t, 1e-10, v[257], 1e-16)
	// The second step starts from the rounded moments.
	before := param[257]
	AdamW8bit(param, make([]float64, 258), moments, s, 2)
	want := before - 0.1/(1-0.81)*0.9*m[257]/(math.Sqrt(0.99*v[257]/(1-0.9801))+0.5)
	require.InDelta(t, want*0.98, param[257], 1e-12)
}

// The moments' eight bits move parameters by a small part of what 50 steps move them.
func TestAdamW8bitFollowsAdamW(t *testing.T) {
	const n = 2048
	rng := rand.New(rand.NewPCG(3, 4))
	param, grad, m, v := make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
	for i := range param {
		param[i] = 0.1 * rng.NormFloat64()
	}
	start, param8, moments := append([]float64{}, param...), append([]float64{}, param...), NewMoments8(n)
	s := AdamWSettings{LearningRate: 1e-3, Beta1: 0.9, Beta2: 0.999, Eps: 1e-8}
	for step := 1; step <= 50; step++ {
		for i := range grad {
			grad[i] = 0.01 * (rng.NormFloat64() + 0.3)
		}
		AdamW(param, grad, m, v, s, step)
		AdamW8bit(param8, grad, moments, s, step)
	}
	var moved, apart float64
	for i := range param {
		moved += math.Abs(param[i] - start[i])
		apart += math.Abs(param[i] - param8[i])
	}
	require.Greater(t, moved/n, 0.005)
	require.Less(t, apart, 0.02*moved)
	require.Positive(t, apart)
}
