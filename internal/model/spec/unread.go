package spec

import (
	"slices"

	"qlora-wgpu/internal/usererr"
)

// arithmetic are the keys of config.json that change what some family computes, with what tells a value that changes
// nothing. A family reads those that are its own; any other that says something is an error, since the model would
// compute something else in silence. Keys that are not listed are harmless.
var arithmetic = []struct {
	nothing func(value any) bool
	keys    []string
}{
	// biases
	{off, []string{"attention_bias", "mlp_bias", "qkv_bias", "use_qkv_bias", "use_bias"}},
	// which keys a query sees
	{off, []string{"sliding_window", "use_sliding_window", "attention_chunk_size", "use_bidirectional_attention"}},
	{allFull, []string{"layer_types"}},
	// queries, keys and their scores
	{off, []string{"attn_logit_softcapping", "query_pre_attn_scalar", "attention_multiplier", "clip_qkv"}},
	{off, []string{"use_qk_norm", "qk_norm", "qk_layernorm", "attn_temperature_tuning"}},
	// positions
	{one, []string{"rotary_pct"}},
	{off, []string{"rope_local_base_freq", "no_rope_layer_interval", "alibi"}},
	{allOne, []string{"no_rope_layers"}},
	// residual stream, MLP and logits
	{one, []string{"embedding_multiplier", "residual_multiplier", "logits_scaling", "logit_scale", "scale_emb", "scale_depth"}},
	{off, []string{"dim_model_base", "use_parallel_residual", "hidden_activation", "final_logit_softcapping"}},
	// experts
	{off, []string{"num_local_experts", "num_experts", "n_routed_experts", "moe_intermediate_size"}},
}

func off(value any) bool     { return value == false || value == 0.0 }
func one(value any) bool     { return value == 1.0 }
func allFull(value any) bool { return all(value, fullAttention) }
func allOne(value any) bool  { return all(value, 1.0) }

func all(value, wanted any) bool {
	list, ok := value.([]any)
	return ok && !slices.ContainsFunc(list, func(v any) bool { return v != wanted })
}

// unread is an error about a key that changes arithmetic and that the family did not read.
func (k *Keys) unread(f Family) error {
	for _, group := range arithmetic {
		for _, key := range group.keys {
			if value := k.Values[key]; value != nil && !k.read[key] && !group.nothing(value) {
				k.fail(key, usererr.Unsupported, "", "%s is %s, which %s does not read", key, show(value), f.Names[0])
			}
		}
	}
	return k.Err()
}
