package spec

import (
	"maps"
	"slices"

	"qlora-wgpu/internal/usererr"
)

// arithmetic are the keys of config.json that change what some family computes, each with what tells a value that
// changes nothing. A family reads those that are its own; any other that says something is an error, since the model
// would compute something else in silence. Keys that are not listed are harmless.
var arithmetic = map[string]func(value any) bool{
	// biases
	"attention_bias": off, "mlp_bias": off, "qkv_bias": off, "use_qkv_bias": off, "use_bias": off,
	// which keys a query sees
	"sliding_window": off, "use_sliding_window": off, "layer_types": allFull, "attention_chunk_size": off,
	"use_bidirectional_attention": off,
	// queries, keys and their scores
	"attn_logit_softcapping": off, "query_pre_attn_scalar": off, "attention_multiplier": off, "clip_qkv": off,
	"use_qk_norm": off, "qk_norm": off, "qk_layernorm": off, "attn_temperature_tuning": off,
	// positions
	"rotary_pct": one, "rope_local_base_freq": off, "no_rope_layers": allOne, "no_rope_layer_interval": off, "alibi": off,
	// residual stream, MLP and logits
	"embedding_multiplier": one, "residual_multiplier": one, "logits_scaling": one, "logit_scale": one, "scale_emb": one,
	"scale_depth": one, "dim_model_base": off, "use_parallel_residual": off, "hidden_activation": off,
	"final_logit_softcapping": off,
	// experts
	"num_local_experts": off, "num_experts": off, "n_routed_experts": off, "moe_intermediate_size": off,
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
	for _, key := range slices.Sorted(maps.Keys(k.Values)) {
		nothing, value := arithmetic[key], k.Values[key]
		if nothing == nil || value == nil || k.read[key] || nothing(value) {
			continue
		}
		k.fail(key, usererr.Unsupported, "", "%s is %s, which %s does not read", key, show(value), f.Names[0])
	}
	return k.Err()
}
