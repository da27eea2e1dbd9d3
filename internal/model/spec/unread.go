package spec

import (
	"fmt"
	"maps"
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
	// what is computed beside a plain decoder, or in another way in some layers
	{off, []string{"is_encoder_decoder", "add_cross_attention", "per_layer_config", "block_configs", "pruned_heads"}},
	{off, []string{"hidden_size_per_layer_input", "swin_norm"}},
	{on, []string{"is_causal"}},
	// biases
	{off, []string{"attention_bias", "mlp_bias", "qkv_bias", "use_qkv_bias", "use_bias"}},
	// which keys a query sees
	{off, []string{"sliding_window", "use_sliding_window", "attention_chunk_size", "use_bidirectional_attention"}},
	{allFull, []string{"layer_types"}},
	// queries, keys and their scores
	{off, []string{"attn_logit_softcapping", "query_pre_attn_scalar", "attention_multiplier", "clip_qkv"}},
	{off, []string{"use_qk_norm", "qk_norm", "qk_layernorm", "attn_temperature_tuning", "attention_temperature_scale"}},
	{off, []string{"q_lora_rank", "kv_lora_rank", "num_kv_shared_layers"}},
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

func off(value any) bool {
	switch v := value.(type) {
	case []any:
		return len(v) == 0
	case map[string]any:
		return len(v) == 0
	}
	return value == false || value == 0.0
}
func on(value any) bool      { return value == true }
func one(value any) bool     { return value == 1.0 }
func allFull(value any) bool { return all(value, fullAttention) }
func allOne(value any) bool  { return all(value, 1.0) }

func all(value, wanted any) bool {
	list, ok := value.([]any)
	return ok && !slices.ContainsFunc(list, func(v any) bool { return v != wanted })
}

// ropeKeys are what transformers knows of a rotary embedding, of which each type reads its own, and what old files and
// those of models with images have besides, which changes nothing for texts.
var ropeKeys = []string{
	"rope_type", "type", "rope_theta", "partial_rotary_factor", "factor", "original_max_position_embeddings", "attention_factor",
	"beta_fast", "beta_slow", "mscale", "mscale_all_dim", "truncate", "short_factor", "long_factor", "low_freq_factor", "high_freq_factor",
	"finetuned", "max_position_embeddings", "mrope_section", "mrope_interleaved",
}

// unread is an error about a key that changes arithmetic and that the family did not read.
func (k *Keys) unread(f Family) error {
	refuse := func(o *Keys, key string) {
		o.fail(key, usererr.Unsupported, "take a model without it: this one would compute something else",
			"%s is %s, which %s does not read", key, show(o.Values[key]), f.Names[0])
	}
	for _, group := range arithmetic {
		for _, key := range group.keys {
			if value := k.Values[key]; value != nil && !k.read[key] && !group.nothing(value) {
				refuse(k, key)
			}
		}
	}
	for _, key := range []string{"rope_scaling", "rope_parameters"} {
		o := k.object(key)
		objects := []*Keys{o}
		for _, name := range slices.Sorted(maps.Keys(o.objects)) {
			objects = append(objects, o.objects[name])
		}
		for _, object := range objects {
			for _, key := range slices.Sorted(maps.Keys(object.Values)) {
				value := object.Values[key]
				if value != nil && !off(value) && !object.read[key] && !slices.Contains(ropeKeys, key) {
					refuse(object, key)
				}
			}
		}
	}
	return k.Err()
}

// Dropouts are the keys of what the model's class leaves out by chance in training, each with its share: the program
// applies the adapter's dropout alone.
func (k *Keys) Dropouts() (list []string) {
	for _, key := range []string{"attention_dropout", "resid_pdrop", "embd_pdrop", "hidden_dropout"} {
		if share, ok := k.Values[key].(float64); ok && share > 0 {
			list = append(list, fmt.Sprintf("%s %v", key, share))
		}
	}
	return list
}
