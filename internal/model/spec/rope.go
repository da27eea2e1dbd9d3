package spec

import (
	"cmp"
	"maps"
	"math"
	"slices"

	"qlora-wgpu/internal/usererr"
)

// RoPE describes a rotary embedding.
type RoPE struct {
	Dim   int // of a head's dimensions the first so many rotate
	Theta float64
	// Scaling: "" or "default", "linear", "llama3", "yarn", "longrope".
	Scaling                       string
	Factor                        float64
	LowFreqFactor, HighFreqFactor float64 // llama3
	BetaFast, BetaSlow            float64 // yarn
	OriginalMaxPositions          int
	Factors                       []float32 // [Dim/2] divisors of the frequencies, nil for none
	// LongFactors take the place of Factors for sequences beyond OriginalMaxPositions; nil: nothing changes there.
	LongFactors     []float32
	AttentionFactor float64 // of the tables; 0: 1
	// QueryScaling is b of the factor of rotated queries, 1 + b·ln(1 + ⌊position/OriginalMaxPositions⌋).
	QueryScaling float64
}

// Divisors are what frequencies are divided by for a scaling that takes each for itself, [Dim/2]; nil for another one.
func (r RoPE) Divisors() []float32 {
	if r.Scaling != "llama3" {
		return r.Factors
	}
	list := make([]float32, r.Dim/2)
	for i := range list {
		f := math.Pow(r.Theta, -2*float64(i)/float64(r.Dim))
		list[i] = float32(f / r.scaled(i, f))
		if r.Factors != nil {
			list[i] *= r.Factors[i]
		}
	}
	return list
}

// HasLong tells whether sequences of so many tokens have other tables than shorter ones.
func (r RoPE) HasLong(positions int) bool {
	return r.LongFactors != nil && positions > r.OriginalMaxPositions
}

// Tables are cos and sin [positions, Dim/2], of sequences beyond the original context where long is set, computed in
// float64 on the host: WGSL promises sin and cos on [-π, π] only. Source: arXiv 2104.09864; the scalings as in
// transformers' modeling_rope_utils.
func (r RoPE) Tables(positions int, long bool) (cos, sin []float32) {
	half, factors, size := r.Dim/2, r.Factors, cmp.Or(r.AttentionFactor, 1)
	if long {
		factors = r.LongFactors
	}
	cos, sin = make([]float32, positions*half), make([]float32, positions*half)
	for i := range half {
		f := r.scaled(i, math.Pow(r.Theta, -2*float64(i)/float64(r.Dim)))
		if factors != nil {
			f /= float64(factors[i])
		}
		for p := range positions {
			s, c := math.Sincos(float64(p) * f)
			cos[p*half+i], sin[p*half+i] = float32(size*c), float32(size*s)
		}
	}
	return cos, sin
}

// ScalesQueries tells whether queries have a factor of their own in sequences of so many tokens.
func (r RoPE) ScalesQueries(positions int) bool {
	return r.QueryScaling != 0 && positions > r.OriginalMaxPositions
}

// ForQueries is a table [positions, Dim/2] with the queries' factor of each position. Source: transformers'
// modeling_ministral3.py.
func (r RoPE) ForQueries(table []float32) []float32 {
	half := r.Dim / 2
	out := make([]float32, len(table))
	for i, x := range table {
		spans := math.Floor(float64(i/half) / float64(r.OriginalMaxPositions))
		out[i] = float32(float64(x) * (1 + r.QueryScaling*math.Log(1+spans)))
	}
	return out
}

// check refuses what rotates nothing or to nowhere.
func (r RoPE) check(invalid func(format string, args ...any) error) error {
	if !(r.Theta > 0) || math.IsInf(r.Theta, 0) {
		return invalid("rope_theta is %v, it must be positive", r.Theta)
	}
	for _, list := range [][]float32{r.Factors, r.LongFactors} {
		if list != nil && len(list) != r.Dim/2 {
			return invalid("there are %d rope factors for %d rotating dimensions", len(list), r.Dim)
		}
		for i, f := range list {
			if !(f > 0) || math.IsInf(float64(f), 0) {
				return invalid("rope factor %d is %v, it must be positive", i, f)
			}
		}
	}
	return nil
}

// yarn is what becomes of frequency i: divided by the factor where its pair turns less than BetaSlow times within the
// original context, kept where more than BetaFast times, and between them a mixture. Source: YaRN (arXiv 2309.00071).
func (r RoPE) yarn(i int, f float64) float64 {
	dim := float64(r.Dim)
	turning := func(times float64) float64 { // the dimension whose pair turns so often
		return dim * math.Log(float64(r.OriginalMaxPositions)/(times*2*math.Pi)) / (2 * math.Log(r.Theta))
	}
	low, high := max(0, math.Floor(turning(r.BetaFast))), min(dim-1, math.Ceil(turning(r.BetaSlow)))
	if low == high {
		high += 0.001
	}
	ramp := min(1, max(0, (float64(i)-low)/(high-low)))
	return f/r.Factor*ramp + f*(1-ramp)
}

// scaled applies the context scaling to frequency i.
func (r RoPE) scaled(i int, f float64) float64 {
	switch r.Scaling {
	case "yarn":
		return r.yarn(i, f)
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

// RopeFactors is the key of RoPE.Factors, and LongRopeFactors of those for long contexts. No config.json has them:
// llama.cpp stores them as tensors.
const (
	RopeFactors     = "rope_factors"
	LongRopeFactors = "long_rope_factors"
)

// RoPE reads the rotary embedding of heads of so many dimensions, from rope_theta and rope_scaling (transformers 4) or
// rope_parameters (transformers 5).
func (k *Keys) RoPE(headDim int, theta float64) *RoPE {
	r := &RoPE{Theta: k.Float("rope_theta", theta)}
	part := k.Float("partial_rotary_factor", 1)
	for _, key := range []string{"rope_scaling", "rope_parameters"} {
		o := k.object(key)
		for _, name := range slices.Sorted(maps.Keys(o.Values)) {
			if _, nested := o.Values[name].(map[string]any); nested {
				k.fail(key, usererr.Unsupported, "", "%s that differ by layer type (%s)", key, name)
				return r
			}
		}
		part = o.Float("partial_rotary_factor", part)
		k.rope(r, o)
	}
	r.Dim = k.rotating(headDim, part)
	r.factors(k)
	return r
}

// RoPEOf reads the rotary embedding of layers of a type, where rope_parameters has one for each type.
func (k *Keys) RoPEOf(layerType string, headDim int, theta float64) *RoPE {
	r, o := &RoPE{Theta: theta}, k.object("rope_parameters").object(layerType)
	k.rope(r, o)
	r.Dim = k.rotating(headDim, o.Float("partial_rotary_factor", k.Float("partial_rotary_factor", 1)))
	return r
}

// ScaleQueries reads the factor of queries, of which rope_parameters has b and the original context. It belongs to the
// whole of a head.
func (k *Keys) ScaleQueries(r *RoPE, headDim int) {
	key := "rope_parameters"
	if k.Values[key] == nil {
		key = "rope_scaling"
	}
	o := k.object(key)
	const scaling = "llama_4_scaling_beta"
	if o.Values[scaling] == nil {
		o.fail(scaling, usererr.Format, "", "%s is missing, a number was wanted", scaling)
		return
	}
	r.QueryScaling = o.Float(scaling, 0)
	if r.QueryScaling == 0 {
		return
	}
	if r.OriginalMaxPositions == 0 {
		r.OriginalMaxPositions = o.original(k, 0)
	}
	if r.Dim != headDim {
		k.fail("partial_rotary_factor", usererr.Unsupported, "", "partial_rotary_factor: of head_dim %d the first %d dimensions rotate, "+
			"with %s all have to", headDim, r.Dim, scaling)
	}
}

// rope reads an object of rope_parameters.
func (k *Keys) rope(r *RoPE, o *Keys) {
	r.Theta = o.Float("rope_theta", r.Theta)
	typeKey := "rope_type"
	if o.Values[typeKey] == nil {
		typeKey = "type" // before transformers 4.43
	}
	o.scaling(r, typeKey, k)
}

// rotating is the part of a head that rotates.
func (k *Keys) rotating(headDim int, part float64) int {
	dim := int(float64(headDim) * part)
	if part == 1 {
		return headDim // whose check is elsewhere
	}
	if !(part > 0 && part <= 1) || dim < 4 || dim%4 != 0 {
		k.fail("partial_rotary_factor", usererr.Unsupported, "", "partial_rotary_factor is %v: of head_dim %d a multiple of 4 has to rotate",
			part, headDim)
		return headDim
	}
	return dim
}

// factors reads those that GGUF has as tensors.
func (r *RoPE) factors(k *Keys) {
	for _, list := range []struct {
		key string
		to  *[]float32
	}{{RopeFactors, &r.Factors}, {LongRopeFactors, &r.LongFactors}} {
		if found := narrow(k.Floats(list.key)); found != nil {
			*list.to = found
		}
	}
}

func narrow(list []float64) (out []float32) {
	for _, f := range list {
		out = append(out, float32(f))
	}
	return out
}

// scaling reads how frequencies are stretched. model has what stands outside of the object.
func (k *Keys) scaling(r *RoPE, typeKey string, model *Keys) {
	kind := k.Text(typeKey, "default")
	switch kind {
	case "default", "dynamic": // dynamic changes nothing within max_position_embeddings, beyond which nothing gets here
		return
	case "linear":
		r.Factor = k.positive("factor")
	case "llama3":
		r.Factor = k.positive("factor")
		r.LowFreqFactor, r.HighFreqFactor = k.positive("low_freq_factor"), k.positive("high_freq_factor")
		r.OriginalMaxPositions = k.Positions("original_max_position_embeddings", 0)
		if r.HighFreqFactor <= r.LowFreqFactor {
			k.fail("high_freq_factor", usererr.Format, "",
				"high_freq_factor is %v and low_freq_factor %v, it must be above", r.HighFreqFactor, r.LowFreqFactor)
		}
	case "yarn":
		k.yarn(r, model)
	case "longrope", "su":
		kind = "longrope"
		k.longRoPE(r, model)
	default:
		k.Refuse(typeKey, "default, dynamic, linear, llama3, longrope and yarn are known")
		return
	}
	r.Scaling = kind
}

// original is the context that a model was trained with before it was stretched: as transformers has it, the key beside
// the object goes first.
func (k *Keys) original(model *Keys, fallback int) int {
	const key = "original_max_position_embeddings"
	if model.Values[key] != nil {
		return model.Positions(key, 0)
	}
	return k.Positions(key, fallback)
}

// yarn reads what YaRN is made of. Source: _compute_yarn_parameters of transformers' modeling_rope_utils.py.
func (k *Keys) yarn(r *RoPE, model *Keys) {
	r.Factor = k.positive("factor")
	r.OriginalMaxPositions = k.original(model, model.Positions("max_position_embeddings", 2048))
	r.BetaFast, r.BetaSlow = k.Float("beta_fast", 32), k.Float("beta_slow", 1)
	if !k.Bool("truncate", true) {
		k.Refuse("truncate", "true is known")
	}
	size := func(scale float64) float64 { return 1 + 0.1*scale*math.Log(max(1, r.Factor)) }
	a, b := k.Float("mscale", 0), k.Float("mscale_all_dim", 0)
	fallback := size(1)
	if a != 0 && b != 0 {
		fallback = size(a) / size(b)
	}
	r.AttentionFactor = k.Float("attention_factor", fallback)
}

// longRoPE reads what LongRoPE is made of. Source: _compute_longrope_parameters of transformers'
// modeling_rope_utils.py.
func (k *Keys) longRoPE(r *RoPE, model *Keys) {
	most := model.Positions("max_position_embeddings", 2048)
	r.OriginalMaxPositions = k.original(model, most)
	r.Factors, r.LongFactors = narrow(k.Floats("short_factor")), narrow(k.Floats("long_factor"))
	if r.Factors == nil || r.LongFactors == nil {
		k.fail("short_factor", usererr.Format, "", "short_factor and long_factor are wanted")
	}
	factor, size := k.Float("factor", float64(most)/float64(r.OriginalMaxPositions)), 1.0
	if factor > 1 && r.OriginalMaxPositions > 1 {
		size = math.Sqrt(1 + math.Log(factor)/math.Log(float64(r.OriginalMaxPositions)))
	}
	r.AttentionFactor = k.Float("attention_factor", size)
}
