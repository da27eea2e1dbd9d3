package reference

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRoPE(t *testing.T) {
	// D = 4, theta = 16: frequencies 1 and 1/4. Pairs are (0, 2) and (1, 3).
	cos, sin := RoPETables(4, 3, 16, RoPEScaling{})
	requireClose(t, []float64{1, 1, math.Cos(1), math.Cos(0.25), math.Cos(2), math.Cos(0.5)}, cos)
	requireClose(t, []float64{0, 0, math.Sin(1), math.Sin(0.25), math.Sin(2), math.Sin(0.5)}, sin)
	y := RoPEForward([]float64{1, 0, 0, 2, 5, 6, 7, 8}, 1, 4, 4, []uint32{2, 0}, cos, sin)
	requireClose(t, []float64{math.Cos(2), -2 * math.Sin(0.5), math.Sin(2), 2 * math.Cos(0.5), 5, 6, 7, 8}, y)

	const h, d = 3, 6
	cos, sin = RoPETables(d, 20, 10000, RoPEScaling{})
	x, dy, positions := random(1, 4*h*d), random(2, 4*h*d), []uint32{0, 7, 19, 1}
	requireGradient(t, RoPEBackward(dy, h, d, d, positions, cos, sin), x, func() float64 {
		return dot(dy, RoPEForward(x, h, d, d, positions, cos, sin))
	})
	requireClose(t, x, RoPEBackward(RoPEForward(x, h, d, d, positions, cos, sin), h, d, d, positions, cos, sin))

	// Four of six dimensions rotate, the other two of each head stay.
	cos, sin = RoPETables(4, 20, 10000, RoPEScaling{})
	requireGradient(t, RoPEBackward(dy, h, d, 4, positions, cos, sin), x, func() float64 {
		return dot(dy, RoPEForward(x, h, d, 4, positions, cos, sin))
	})
	part := RoPEForward(x, h, d, 4, positions, cos, sin)
	require.Equal(t, []float64{x[4], x[5], x[10], x[11]}, []float64{part[4], part[5], part[10], part[11]})
	requireClose(t, RoPEForward(x[d:d+4], 1, 4, 4, positions[:1], cos, sin), part[d:d+4])
	cos, sin = RoPETables(d, 20, 10000, RoPEScaling{})

	// Scores depend on the distance of positions only.
	score := func(p, q uint32) float64 {
		return dot(RoPEForward(x[:d], 1, d, d, []uint32{p}, cos, sin), RoPEForward(x[d:2*d], 1, d, d, []uint32{q}, cos, sin))
	}
	require.InDelta(t, score(3, 5), score(13, 15), 1e-12)
	require.Greater(t, math.Abs(score(3, 5)-score(5, 3)), 1e-3)
}

func TestRoPEScaling(t *testing.T) {
	plain := ropeFrequencies(8, 20, 10000, RoPEScaling{Type: "default"})
	requireClose(t, []float64{1, 0.1, 0.01, 0.001}, plain)
	requireClose(t, []float64{0.25, 0.025, 0.0025, 0.00025}, ropeFrequencies(8, 20, 10000, RoPEScaling{Type: "linear", Factor: 4}))
	requireClose(t, []float64{1, 0.05, 0.01, 0.00025},
		ropeFrequencies(8, 20, 10000, RoPEScaling{FrequencyFactors: []float64{1, 2, 1, 4}}))

	// Wavelengths 6.28, 62.8, 628 and 6283 with context 1000, low 1, high 4: the first two are below 250 and stay, the
	// last is above 1000, and 628 lies between with 1000/628.3 = 1.5915 and s = (1.5915-1)/3.
	s := (1000/(200*math.Pi) - 1) / 3
	got := ropeFrequencies(8, 20, 10000, RoPEScaling{
		Type: "llama3", Factor: 8, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPositionEmbeddings: 1000,
	})
	requireClose(t, []float64{1, 0.1, (1-s)*0.01/8 + s*0.01, 0.001 / 8}, got)
	require.Panics(t, func() { ropeFrequencies(8, 20, 10000, RoPEScaling{Type: "other"}) })

	longrope := RoPEScaling{
		Type: "longrope", OriginalMaxPositionEmbeddings: 20, ShortFactor: []float64{1, 2, 1, 4}, LongFactor: []float64{2, 1, 5, 10},
	}
	requireClose(t, []float64{1, 0.05, 0.01, 0.00025}, ropeFrequencies(8, 20, 10000, longrope))
	requireClose(t, []float64{0.5, 0.1, 0.002, 0.0001}, ropeFrequencies(8, 21, 10000, longrope))
	longrope.AttentionFactor = 1.5
	cos, sin := RoPETables(8, 1, 10000, longrope)
	requireClose(t, []float64{1.5, 1.5, 1.5, 1.5, 0, 0, 0, 0}, append(cos, sin...))

	// What transformers 5.23 computes in float32.
	for i, want := range []float64{
		1.0, 0.17782793939113617, 0.03162277862429619, 0.003866096492856741, 0.000375000003259629, 1.1114246262877714e-05,
		1.9764233911701012e-06, 3.5146334198543627e-07,
	} {
		require.InEpsilon(t, want, ropeFrequencies(16, 20, 1e6, RoPEScaling{
			Type: "yarn", Factor: 16, OriginalMaxPositionEmbeddings: 16384, BetaFast: 32, BetaSlow: 1,
		})[i], 3e-7)
	}

	// Llama 3.1 8B: D 128, theta 500000. The two ends of the band: continuous where the pieces meet.
	llama := RoPEScaling{Type: "llama3", Factor: 8, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPositionEmbeddings: 8192}
	atHigh, atLow := 2*math.Pi/2048, 2*math.Pi/8192
	require.InEpsilon(t, atHigh, llama3Frequency(atHigh*0.9999999, llama), 1e-5)
	require.InEpsilon(t, atLow/8, llama3Frequency(atLow*1.0000001, llama), 1e-5)
}
