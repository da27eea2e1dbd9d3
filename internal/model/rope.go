package model

import "math"

// RoPE describes a model's rotary embedding.
type RoPE struct {
	HeadDim int
	Theta   float64
	// Scaling: "" or "default", "linear", "llama3".
	Scaling                       string
	Factor                        float64
	LowFreqFactor, HighFreqFactor float64
	OriginalMaxPositions          int
	Factors                       []float32 // [HeadDim/2] divisors of the frequencies, nil for none
}

// Tables are cos and sin [positions, HeadDim/2], computed in float64 on the host: WGSL promises sin and cos on [-π, π] only.
// Source: arXiv 2104.09864; the scalings as in transformers' modeling_rope_utils.
func (r RoPE) Tables(positions int) (cos, sin []float32) {
	half := r.HeadDim / 2
	cos, sin = make([]float32, positions*half), make([]float32, positions*half)
	for i := range half {
		f := r.scaled(math.Pow(r.Theta, -2*float64(i)/float64(r.HeadDim)))
		if r.Factors != nil {
			f /= float64(r.Factors[i])
		}
		for p := range positions {
			s, c := math.Sincos(float64(p) * f)
			cos[p*half+i], sin[p*half+i] = float32(c), float32(s)
		}
	}
	return cos, sin
}

// scaled applies the context scaling to one frequency.
func (r RoPE) scaled(f float64) float64 {
	switch r.Scaling {
	case "linear":
		return f / r.Factor
	case "llama3":
		context := float64(r.OriginalMaxPositions)
		wavelength := 2 * math.Pi / f
		switch {
		case wavelength < context/r.HighFreqFactor:
			return f
		case wavelength > context/r.LowFreqFactor:
			return f / r.Factor
		}
		smooth := (context/wavelength - r.LowFreqFactor) / (r.HighFreqFactor - r.LowFreqFactor)
		return (1-smooth)*f/r.Factor + smooth*f
	}
	return f
}
