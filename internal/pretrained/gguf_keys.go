package pretrained

import (
	"math"
	"strings"

	"qlora-wgpu/internal/model/architectures"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/usererr"
)

// ggufKeys are the keys of config.json, and those of GGUF, behind the architecture's name, that say the same.
var ggufKeys = []struct {
	name, key       string
	float, required bool
}{
	{"hidden_size", "embedding_length", false, true}, {"intermediate_size", "feed_forward_length", false, true},
	{"num_hidden_layers", "block_count", false, true}, {"num_attention_heads", "attention.head_count", false, true},
	{"num_key_value_heads", "attention.head_count_kv", false, false}, {"max_position_embeddings", "context_length", false, true},
	{"vocab_size", "vocab_size", false, false}, {"head_dim", "attention.key_length", false, false},
	{"rms_norm_eps", "attention.layer_norm_rms_epsilon", true, false}, {"rope_theta", "rope.freq_base", true, false},
	{"sliding_window", "attention.sliding_window", false, false}, {"attention_multiplier", "attention.scale", true, false},
	{"attn_logit_softcapping", "attn_logit_softcapping", true, false}, {"final_logit_softcapping", "final_logit_softcapping", true, false},
	{"embedding_multiplier", "embedding_scale", true, false}, {"residual_multiplier", "residual_scale", true, false},
	{"logits_scaling", "logit_scale", true, false}, {"rope_local_base_freq", "rope.freq_base_swa", true, false},
	{"sliding_window_pattern", "attention.sliding_window_pattern", false, false},
	{"attention_temperature_scale", "attention.temperature_scale", true, false},
	{"clip_qkv", "attention.clamp_kqv", true, false}, {"alibi", "attention.max_alibi_bias", true, false},
	{"kv_lora_rank", "attention.kv_lora_rank", false, false},
}

// ggufFlags are such keys that are true or false.
var ggufFlags = map[string]string{
	"is_causal": "attention.causal", "use_parallel_residual": "use_parallel_residual", "swin_norm": "swin_norm",
}

// absent is what no key says.
const absent = math.MinInt

// ropeFactors are the tensors in which llama.cpp stores rotary scalings: Llama 3's, and LongRoPE's two.
var ropeFactors = map[string]string{
	"rope_freqs.weight": spec.RopeFactors, "rope_factors_short.weight": spec.RopeFactors, "rope_factors_long.weight": spec.LongRopeFactors,
}

// maxRopeFactors is more than half of any head has.
const maxRopeFactors = 1 << 16

// describe makes the model's description of the metadata and of which tensors there are.
func (g *ggufReader) describe(m *Model) (err error) {
	architecture := read(g, g.String, "general.architecture", "")
	if g.err != nil {
		return g.err
	}
	switch kind := read(g, g.String, "general.type", ""); kind {
	case "adapter", "mmproj", "imatrix":
		return g.unsupported("the file holds no model: general.type is %q", kind).
			Hinted("give the base model's file as --model, and an adapter as --adapter")
	}
	about := &spec.Keys{Path: g.path, Values: g.Below(architecture + ".")}
	if g.family, err = architectures.FindGGUF(architecture, about); err != nil {
		return err
	}
	k, err := g.keys()
	if err != nil {
		return err
	}
	if err := m.describe(k, &g.family); err != nil {
		return err
	}
	m.keys = k.Values
	for _, name := range []string{"eot_token_id", "eom_token_id"} { // llama.cpp ends an answer with them too
		if id := g.integer("tokenizer.ggml."+name, -1); id != -1 {
			m.Tokens.stop(id)
		}
	}
	return m.checkTokens(g.path)
}

// keys are the metadata under config.json's names. What llama.cpp has defaults for has the same here.
func (g *ggufReader) keys() (*spec.Keys, error) {
	k := &spec.Keys{Path: g.path, Values: map[string]any{}}
	prefix := g.family.GGUF + "."
	k.Place = func(key string) string { return g.placeOf(prefix, key) }
	if n := g.integer(prefix+"expert_count", 0); n > 0 {
		return nil, g.unsupported("the model is a mixture of experts: %sexpert_count is %d", prefix, n).Hinted("take a dense model")
	}
	for _, entry := range ggufKeys {
		key := prefix + entry.key
		if entry.float {
			if x, ok, err := g.Float(key); ok || err != nil {
				g.keep(err)
				k.Values[entry.name] = x
			}
		} else if n := g.integer(key, absent); n != absent {
			k.Values[entry.name] = float64(n)
		}
		if n, ok := k.Values[entry.name].(float64); entry.required && !(ok && n >= 1) {
			g.fail("%s is missing or not positive", key)
		}
	}
	for name, key := range ggufFlags {
		if is, ok, err := g.Bool(prefix + key); ok || err != nil {
			g.keep(err)
			k.Values[name] = is
		}
	}
	for _, name := range []string{"bos_token_id", "eos_token_id", "padding_token_id"} {
		if id := g.integer("tokenizer.ggml."+name, -1); id != -1 {
			k.Values[strings.Replace(name, "padding", "pad", 1)] = float64(id)
		}
	}
	k.Default("rms_norm_eps", 0.0) // llama.cpp has no default for it
	k.Default("rope_theta", 10000.0)
	if g.err != nil {
		return nil, g.err
	}
	hidden, heads := k.Values["hidden_size"].(float64), k.Values["num_attention_heads"].(float64)
	k.Default("head_dim", math.Floor(hidden/heads))
	dim := int(k.Values["head_dim"].(float64))
	if v := g.integer(prefix+"attention.value_length", dim); v != dim {
		return nil, g.unsupported("keys of %d and values of %d dimensions", dim, v)
	}
	if d := g.integer(prefix+"rope.dimension_count", dim); d != dim {
		k.Values["partial_rotary_factor"] = float64(d) / float64(dim)
	}
	embedding, _ := g.Lookup("token_embd.weight")
	k.Default("vocab_size", float64(embedding.Rows()))
	_, untied := g.Lookup("output.weight")
	k.Values["tie_word_embeddings"] = !untied
	_, k.Values["attention_bias"] = g.Lookup("blk.0.attn_q.bias")
	_, k.Values["mlp_bias"] = g.Lookup("blk.0.ffn_up.bias")
	if err := g.ropeScaling(k); err != nil {
		return nil, err
	}
	if g.family.Implied != nil {
		g.family.Implied(k)
	}
	return k, g.err
}

// placeOf is the key of the metadata that says what a key of config.json does; empty: none does.
func (g *ggufReader) placeOf(prefix, name string) string {
	key := ggufFlags[name]
	for _, entry := range ggufKeys {
		if entry.name == name {
			key = entry.key
		}
	}
	if _, there := g.Below(prefix)[key]; !there {
		return ""
	}
	return prefix + key
}

const originalContext = "original_max_position_embeddings"

// ropeScaling sets the keys of how rotary frequencies are stretched.
func (g *ggufReader) ropeScaling(k *spec.Keys) error {
	prefix := g.family.GGUF + ".rope."
	kind := read(g, g.String, prefix+"scaling.type", "none")
	factor := read(g, g.Float, prefix+"scaling.factor", 0)
	if old := read(g, g.Float, prefix+"scale_linear", 0); old != 0 && factor == 0 {
		kind, factor = "linear", old // the key of files from 2023
	}
	scaling := map[string]any{"rope_type": kind, "factor": factor}
	if n := g.integer(prefix+"scaling.original_context_length", absent); n != absent {
		scaling[originalContext] = float64(n)
	}
	for key, name := range map[string]string{"scaling.yarn_beta_fast": "beta_fast", "scaling.yarn_beta_slow": "beta_slow"} {
		if x, ok, err := g.Float(prefix + key); ok || err != nil {
			g.keep(err)
			scaling[name] = x
		}
	}
	size := func(scale float64) float64 { return 1 + 0.1*scale*math.Log(max(1, factor)) }
	attention := size(1)
	if x, ok, err := g.Float(prefix + "scaling.yarn_log_multiplier"); ok || err != nil {
		g.keep(err)
		scaling["mscale"], scaling["mscale_all_dim"] = 1.0, x // llama.cpp takes the first for 1
		attention /= size(x)
	}
	if x, ok, err := g.Float(prefix + "scaling.attn_factor"); kind == "yarn" && (ok || err != nil) {
		g.keep(err)
		scaling["attention_factor"] = x * attention
	}
	long := false
	for name, key := range ropeFactors {
		factors, err := g.ropeFactors(name)
		if err != nil {
			return err
		}
		if factors != nil {
			k.Values[key], long = factors, long || key == spec.LongRopeFactors
		}
	}
	switch {
	case long:
		scaling["rope_type"] = "longrope"
		scaling["short_factor"], scaling["long_factor"] = k.Values[spec.RopeFactors], k.Values[spec.LongRopeFactors]
		delete(scaling, "factor")
		if n := scaling[originalContext]; n != nil {
			k.Values[originalContext] = n // the key that goes first, of which Phi 3 has a default
		}
		if x, ok, err := g.Float(prefix + "scaling.attn_factor"); ok || err != nil {
			g.keep(err)
			scaling["attention_factor"] = x
		}
	case kind == "none" || kind == "longrope" || factor == 1:
		return nil
	}
	k.Values["rope_scaling"] = scaling
	return nil
}

// ropeFactors are the values of such a tensor; nil where there is none.
func (g *ggufReader) ropeFactors(name string) (list []any, err error) {
	t, ok := g.Lookup(name)
	if !ok {
		return nil, nil
	}
	if t.Rows() != 1 || t.Cols() > maxRopeFactors {
		return nil, usererr.New(op, g.path, "tensor %s has shape %v", t.Name, t.Shape).Of(usererr.Format)
	}
	factors := make([]float32, t.Cols())
	if err := g.ReadFloat32(t, factors, 0, 1); err != nil {
		return nil, err
	}
	for _, f := range factors {
		list = append(list, float64(f))
	}
	return list, nil
}
