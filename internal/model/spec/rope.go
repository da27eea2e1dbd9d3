package spec

import (
	"maps"
	"math"
	"slices"

	"qlora-wgpu/internal/usererr"
)

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

// Tables are cos and sin [positions, HeadDim/2], computed in float64 on the host: WGSL promises sin and cos on [-π, π]
// only. Source: arXiv 2104.09864; the scalings as in transformers' modeling_rope_utils.
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

// RopeFactors is the key of RoPE.Factors. No config.json has it: llama.cpp stores Llama 3's scaling as a tensor.
const RopeFactors = "rope_factors"

// RoPE reads rotary embeddings over so many dimensions, from rope_theta and rope_scaling (transformers 4) or
// rope_parameters (transformers 5).
func (k *Keys) RoPE(headDim int, theta float64) RoPE {
	r := RoPE{HeadDim: headDim, Theta: k.Float("rope_theta", theta)}
	k.one("partial_rotary_factor")
	for _, key := range []string{"rope_scaling", "rope_parameters"} {
		o := k.object(key)
		for _, name := range slices.Sorted(maps.Keys(o.Values)) {
			if _, nested := o.Values[name].(map[string]any); nested {
				k.fail(key, usererr.Unsupported, "", "%s that differ by layer type (%s)", key, name)
				return r
			}
		}
		o.one("partial_rotary_factor")
		r.Theta = o.Float("rope_theta", r.Theta)
		typeKey := "rope_type"
		if o.Values[typeKey] == nil {
			typeKey = "type" // before transformers 4.43
		}
		o.scaling(&r, typeKey)
	}
	for _, f := range k.Floats(RopeFactors) {
		r.Factors = append(r.Factors, float32(f))
	}
	return r
}

// scaling reads how frequencies are stretched.
func (k *Keys) scaling(r *RoPE, typeKey string) {
	kind := k.Text(typeKey, "default")
	switch kind {
	case "default":
		return
	case "linear", "llama3":
	default:
		k.Refuse(typeKey, "default, linear and llama3 are known")
		return
	}
	r.Scaling, r.Factor = kind, k.positive("factor")
	if kind == "llama3" {
		r.LowFreqFactor, r.HighFreqFactor = k.positive("low_freq_factor"), k.positive("high_freq_factor")
		r.OriginalMaxPositions = k.Positions("original_max_position_embeddings", 0)
		if r.HighFreqFactor <= r.LowFreqFactor {
			k.fail("high_freq_factor", usererr.Format, "",
				"high_freq_factor is %v and low_freq_factor %v, it must be above", r.HighFreqFactor, r.LowFreqFactor)
		}
	}
}
