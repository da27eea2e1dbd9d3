package reference

import (
	"fmt"
	"math"
	"slices"
)

// RoPEScaling says how a model stretches its rotary frequencies beyond the context it was pre-trained with. The zero
// value changes nothing. The fields are those of rope_parameters (rope_scaling before transformers 5) in config.json.
type RoPEScaling struct {
	Type                          string // "default" or empty, "linear", "llama3", "longrope", "yarn"
	Factor                        float64
	LowFreqFactor                 float64   // llama3
	HighFreqFactor                float64   // llama3
	OriginalMaxPositionEmbeddings int       // all but linear
	FrequencyFactors              []float64 // [D/2] divisors of the frequencies, as GGUF's rope_freqs.weight; nil for none
	ShortFactor, LongFactor       []float64 // longrope: [D/2] such divisors, for contexts up to the original one and beyond
	BetaFast, BetaSlow            float64   // yarn
	AttentionFactor               float64   // of the tables; 0 is 1
	QueryScaling                  float64   // see ScaleQueries; 0: queries keep their size
}

// RoPETables: cos[p, i] = a cos(p * f_i) and sin[p, i] = a sin(p * f_i), both [P, D/2], with f_i = theta^(-2i/D) and
// the attention factor a.
//
// linear divides f by the factor. llama3, by wavelength w = 2*pi/f and original context L: w < L/high keeps f, w >
// L/low divides it by the factor, and between them (1-s)*f/factor + s*f with s = (L/w - low)/(high - low). longrope
// divides f_i by the short factor i where P <= L, and else by the long one. yarn goes from f to f/factor over the
// dimensions that turn beta_fast to beta_slow times within L.
//
// Source: RoFormer (arXiv 2104.09864), LongRoPE (arXiv 2402.13753), YaRN (arXiv 2309.00071); transformers'
// modeling_rope_utils.py.
func RoPETables(headDim, maxPositions int, theta float64, scaling RoPEScaling) (cos, sin []float64) {
	half := headDim / 2
	cos, sin = make([]float64, maxPositions*half), make([]float64, maxPositions*half)
	a := factor(scaling.AttentionFactor)
	for i, f := range ropeFrequencies(headDim, maxPositions, theta, scaling) {
		for p := range maxPositions {
			angle := float64(p) * f
			cos[p*half+i], sin[p*half+i] = a*math.Cos(angle), a*math.Sin(angle)
		}
	}
	return cos, sin
}

func ropeFrequencies(headDim, maxPositions int, theta float64, s RoPEScaling) []float64 {
	if s.FrequencyFactors != nil {
		wantLen("FrequencyFactors", len(s.FrequencyFactors), headDim/2)
	}
	frequencies := make([]float64, headDim/2)
	for i := range frequencies {
		f := math.Pow(theta, -2*float64(i)/float64(headDim))
		switch s.Type {
		case "", "default":
		case "linear":
			f /= s.Factor
		case "llama3":
			f = llama3Frequency(f, s)
		case "longrope":
			f /= longRoPEFactors(maxPositions, s)[i]
		case "yarn":
			f = yarnFrequency(i, headDim, f, theta, s)
		default:
			panic(fmt.Sprintf("reference: unknown rope type %q", s.Type))
		}
		if s.FrequencyFactors != nil {
			f /= s.FrequencyFactors[i]
		}
		frequencies[i] = f
	}
	return frequencies
}

func llama3Frequency(f float64, s RoPEScaling) float64 {
	context := float64(s.OriginalMaxPositionEmbeddings)
	wavelength := 2 * math.Pi / f
	switch {
	case wavelength < context/s.HighFreqFactor:
		return f
	case wavelength > context/s.LowFreqFactor:
		return f / s.Factor
	}
	smooth := (context/wavelength - s.LowFreqFactor) / (s.HighFreqFactor - s.LowFreqFactor)
	return (1-smooth)*f/s.Factor + smooth*f
}

func longRoPEFactors(maxPositions int, s RoPEScaling) []float64 {
	if maxPositions > s.OriginalMaxPositionEmbeddings {
		return s.LongFactor
	}
	return s.ShortFactor
}

func yarnFrequency(i, headDim int, f, theta float64, s RoPEScaling) float64 {
	d := float64(headDim)
	dimension := func(turns float64) float64 { // whose pair turns so often within the original context
		return d * math.Log(float64(s.OriginalMaxPositionEmbeddings)/(turns*2*math.Pi)) / (2 * math.Log(theta))
	}
	low, high := max(0, math.Floor(dimension(s.BetaFast))), min(d-1, math.Ceil(dimension(s.BetaSlow)))
	if low == high {
		high += 0.001
	}
	ramp := min(1, max(0, (float64(i)-low)/(high-low)))
	return f/s.Factor*ramp + f*(1-ramp)
}

// ScaleQueries is q [T, H*D] with each row multiplied by 1 + b ln(1 + floor(position/L)) of the query scaling b and the
// original context L, and so is a gradient's way back. Source: transformers' modeling_ministral3.py.
func ScaleQueries(q []float64, positions []uint32, s RoPEScaling) []float64 {
	if s.QueryScaling == 0 {
		return q
	}
	y, width := slices.Clone(q), len(q)/len(positions)
	for t, position := range positions {
		spans := int(position) / s.OriginalMaxPositionEmbeddings
		for i := range width {
			y[t*width+i] *= 1 + s.QueryScaling*math.Log1p(float64(spans))
		}
	}
	return y
}

// RoPEForward rotates the pairs (i, i+D/2) of each head by the angle of the token's position, transformers' rotate_half
// convention: y[i] = x[i]*cos - x[i+R/2]*sin, y[i+R/2] = x[i+R/2]*cos + x[i]*sin over the first R dimensions of each
// head; the others stay. x and y are [T, H*D], positions is [T], cos and sin are [P, R/2].
func RoPEForward(x []float64, h, d, r int, positions []uint32, cos, sin []float64) []float64 {
	wantLen("x", len(x), len(positions), h, d)
	wantLen("sin", len(sin), len(cos))
	half := r / 2
	y := slices.Clone(x)
	for t, position := range positions {
		for head := range h {
			first := (t*h + head) * d
			for i := range half {
				c, s := cos[int(position)*half+i], sin[int(position)*half+i]
				a, b := x[first+i], x[first+half+i]
				y[first+i], y[first+half+i] = a*c-b*s, b*c+a*s
			}
		}
	}
	return y
}

// RoPEBackward is the inverse rotation of dy, by the angle's negative.
func RoPEBackward(dy []float64, h, d, r int, positions []uint32, cos, sin []float64) []float64 {
	return RoPEForward(dy, h, d, r, positions, cos, scaled(sin, -1))
}
