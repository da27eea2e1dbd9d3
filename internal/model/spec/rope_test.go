package spec

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/reference"
)

// llama32 is the rotary embedding of Llama 3.2 1B.
var llama32 = RoPE{
	Dim: 64, Theta: 500000, Scaling: "llama3", Factor: 32, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPositions: 8192,
}

func TestRotaryTablesAreTheReferencesRoundedOnceWithEveryScaling(t *testing.T) {
	factors := make([]float32, 32)
	for i := range factors {
		factors[i] = 1 + float32(i*i)/7
	}
	seen := map[float32]string{}
	for name, r := range map[string]RoPE{
		"no scaling":              {Dim: 64, Theta: 10000},
		"default":                 {Dim: 64, Theta: 1e6, Scaling: "default"},
		"linear":                  {Dim: 64, Theta: 10000, Scaling: "linear", Factor: 8},
		"llama3":                  llama32,
		"factors of a GGUF":       {Dim: 64, Theta: 500000, Factors: factors},
		"a head that is no power": {Dim: 48, Theta: 1e6},
		"llama3 in a small context": {
			Dim: 32, Theta: 500, Scaling: "llama3", Factor: 8, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPositions: 32,
		},
	} {
		const positions = 3000
		scaling := reference.RoPEScaling{
			Type: r.Scaling, Factor: r.Factor, LowFreqFactor: r.LowFreqFactor, HighFreqFactor: r.HighFreqFactor,
			OriginalMaxPositionEmbeddings: r.OriginalMaxPositions,
		}
		for _, f := range r.Factors {
			scaling.FrequencyFactors = append(scaling.FrequencyFactors, float64(f))
		}
		wantCos, wantSin := reference.RoPETables(r.Dim, positions, r.Theta, scaling)
		cos, sin := r.Tables(positions, false)
		require.Len(t, cos, len(wantCos))
		require.Len(t, sin, len(wantSin))
		for i := range cos {
			// Half a unit of a float32 below 1, and the float64 angle's own rounding.
			const allowance = 0x1p-25 + 1e-11
			require.InDelta(t, wantCos[i], float64(cos[i]), allowance, "%s: cos %d of position %d", name, i%(r.Dim/2), i/(r.Dim/2))
			require.InDelta(t, wantSin[i], float64(sin[i]), allowance, "%s: sin %d of position %d", name, i%(r.Dim/2), i/(r.Dim/2))
		}
		last := sin[len(sin)-1]
		require.Empty(t, seen[last], "%s turns the slowest pair as another does", name)
		seen[last] = name
	}
}

// The frequencies are those of transformers' modeling_rope_utils in float64, computed by another program: one of each
// band's ends and all that are mixed.
func TestLlama3sFrequenciesStayAreMixedOrAreDividedByTheirWavelength(t *testing.T) {
	_, sin := llama32.Tables(2, false)
	for i, want := range map[int]float64{
		1: 0.6636012376960885, 14: 0.003211445994752591, // wavelengths of 9 and 1956, below 8192/4, stay
		15: 0.001290547928209264, 16: 0.00042955679655936815, 17: 9.70828780262767e-05, // 2948, 4443 and 6695 are mixed
		18: 1.9461638184831125e-05, 31: 9.41830672543491e-08, // 10089 and 2084765, above 8192, are divided by 32
	} {
		require.InEpsilon(t, want, math.Asin(float64(sin[32+i])), 1e-7, "frequency %d", i)
	}
}

// llama.cpp writes Llama 3's scaling as divisors of the frequencies.
func TestAGGUFsFactorsGiveTheTablesOfTheScalingThatTheyWereMadeOf(t *testing.T) {
	plain := RoPE{Dim: llama32.Dim, Theta: llama32.Theta}
	_, slow := llama32.Tables(2, false)
	_, fast := plain.Tables(2, false)
	for i := range 32 {
		plain.Factors = append(plain.Factors, float32(math.Asin(float64(fast[32+i]))/math.Asin(float64(slow[32+i]))))
	}
	require.InDelta(t, 1, plain.Factors[0], 1e-6)
	require.InDelta(t, 32, plain.Factors[31], 1e-5)
	wantCos, wantSin := llama32.Tables(500, false)
	cos, sin := plain.Tables(500, false)
	for i := range cos {
		// Factors are float32: an angle of up to 499 is off by 500 * 2^-23 at most.
		require.InDelta(t, wantCos[i], cos[i], 6e-5)
		require.InDelta(t, wantSin[i], sin[i], 6e-5)
	}
}
