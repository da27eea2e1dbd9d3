package architectures

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"qlora-wgpu/internal/model/spec"
)

// kinds are what models of no known family may be, as far as a configuration tells: by one of the keys, which are
// config.json's or GGUF's behind the architecture, or by how the name of a class ends.
var kinds = []struct {
	is      string // reads behind "which"
	keys    []string
	endings []string
	unless  []string // what no key of may be there
	far     bool     // no family is near
}{
	{"is an encoder-decoder", []string{
		"is_encoder_decoder", "decoder_start_token_id", "num_decoder_layers", "decoder_block_count",
	}, nil, nil, true},
	{"is an encoder", []string{"type_vocab_size", "attention.relative_buckets_count", "attention.causal", "is_causal"}, []string{
		"ForMaskedLM", "EncoderModel", "BidirectionalModel",
	}, nil, true},
	{"has a head that gives no tokens", nil, []string{
		"ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering", "ForMultipleChoice", "ForImageClassification",
		"RewardModel",
	}, nil, false},
	{"reads images or sound and no text", []string{
		"patch_size", "image_size", "num_channels", "sampling_rate", "has_vision_encoder", "has_audio_encoder",
	}, nil, append([]string{"vocab_size"}, texts...), true},
	{"reads sound", []string{"num_mel_bins", "feat_extract_norm"}, nil, nil, true},
	{"reads images or sound beside text", append([]string{
		"vision_config", "audio_config", "visual", "vision_tower", "mm_vision_tower", "speech_config", "img_processor",
	}, texts...), nil, nil, false},
	{"is a mixture of experts", []string{
		"num_experts", "num_local_experts", "n_routed_experts", "num_routed_experts", "moe_num_experts", "moe_intermediate_size",
		"expert_count", "moe_topk", "num_experts_per_tok",
	}, nil, nil, false},
	{"has layers that are not attention", []string{
		"linear_attention", "mamba_d_state", "mamba_num_heads", "ssm_state_size", "ssm.state_size", "ssm.conv_kernel", "state_size",
		"layers_block_type", "block_types", "hybrid_override_pattern", "lru_width", "conv_L_cache", "shortconv.l_cache",
		"linear_num_value_heads", "rescale_every", "wkv.head_size", "attention_hidden_size",
	}, nil, nil, false},
	{"has keys and values of low rank", []string{"kv_lora_rank", "attention.kv_lora_rank"}, nil, nil, false},
}

// texts are the keys of what is said of a language model beside others.
var texts = []string{"text_config", "llm_config", "language_config", "thinker_config"}

// isOther tells what a configuration is that no family reads, each with the key that tells, and whether any family is
// near to that; empty: nothing is known.
func isOther(k *spec.Keys) (what string, far bool) {
	said := told(k)
	var list []string
	for _, kind := range kinds {
		if slices.ContainsFunc(kind.unless, func(key string) bool { return said[key] != "" }) {
			continue
		}
		if i := slices.IndexFunc(kind.keys, func(key string) bool { return said[key] != "" }); i >= 0 {
			list = append(list, fmt.Sprintf("%s (%s)", kind.is, said[kind.keys[i]]))
		} else if slices.ContainsFunc(kind.endings, func(end string) bool { return classEnds(k, end) }) {
			list = append(list, kind.is)
		} else {
			continue
		}
		far = far || kind.far
	}
	return strings.Join(list, " and "), far
}

// classEnds tells whether a class of the configuration ends so.
func classEnds(k *spec.Keys, end string) bool {
	names, _ := k.Values["architectures"].([]any)
	return slices.ContainsFunc(names, func(name any) bool {
		text, _ := name.(string)
		return strings.HasSuffix(text, end)
	})
}

// told are the keys of a configuration, and of the language model in it, that say something, each as people are shown
// it; of layer_types what is no attention is a key too.
func told(k *spec.Keys) map[string]string {
	said := map[string]string{}
	for _, values := range []map[string]any{inner(k.Values), k.Values} {
		for key, value := range values {
			switch v := value.(type) {
			case nil:
			case bool:
				if causal := key == "attention.causal" || key == "is_causal"; v != causal {
					said[key] = fmt.Sprintf("%s is %v", key, v)
				}
			case float64:
				if v > 0 {
					said[key] = fmt.Sprintf("%s is %v", key, v)
				}
			default:
				said[key] = "it has " + key
			}
		}
		types, _ := values["layer_types"].([]any)
		for _, t := range types {
			if text, _ := t.(string); !strings.Contains(text, "attention") || text == "linear_attention" {
				said["linear_attention"] = "layer_types has " + fmt.Sprint(t)
			}
		}
	}
	return said
}

// inner are the values of the language model in a configuration of several; without any where there is none.
func inner(values map[string]any) map[string]any {
	for _, key := range texts {
		if within, ok := values[key].(map[string]any); ok {
			deeper := maps.Clone(within)
			maps.Copy(deeper, inner(within))
			return deeper
		}
	}
	return nil
}
