package pretrained

import (
	"maps"
	"slices"
	"strings"

	"qlora-wgpu/internal/model/architectures"
	"qlora-wgpu/internal/model/spec"
)

// shapes are common models, as their config.json describes them; more has the keys that only their family reads. What
// changes no size, as factors of rotary frequencies, is left out.
var shapes = []struct {
	name, kind                                                   string // kind is the model_type
	hidden, intermediate, layers, heads, kvHeads, headDim, vocab int
	positions                                                    int
	tied                                                         bool
	theta                                                        float64
	more                                                         map[string]any
}{
	{"smollm2-135m", "llama", 576, 1536, 30, 9, 3, 64, 49152, 8192, true, 1e5, nil},
	{"smollm2-360m", "llama", 960, 2560, 32, 15, 5, 64, 49152, 8192, true, 1e5, nil},
	{"smollm2-1.7b", "llama", 2048, 8192, 24, 32, 32, 64, 49152, 8192, true, 1.3e5, nil},
	{"llama-3.2-1b", "llama", 2048, 8192, 16, 32, 8, 64, 128256, 131072, true, 5e5, nil},
	{"llama-3.2-3b", "llama", 3072, 8192, 28, 24, 8, 128, 128256, 131072, true, 5e5, nil},
	{"llama-3.1-8b", "llama", 4096, 14336, 32, 32, 8, 128, 128256, 131072, false, 5e5, nil},
	{"llama-3.3-70b", "llama", 8192, 28672, 80, 64, 8, 128, 128256, 131072, false, 5e5, nil},
	{"qwen2.5-0.5b", "qwen2", 896, 4864, 24, 14, 2, 64, 151936, 32768, true, 1e6, nil},
	{"qwen2.5-1.5b", "qwen2", 1536, 8960, 28, 12, 2, 128, 151936, 32768, true, 1e6, nil},
	{"qwen2.5-3b", "qwen2", 2048, 11008, 36, 16, 2, 128, 151936, 32768, true, 1e6, nil},
	{"qwen2.5-7b", "qwen2", 3584, 18944, 28, 28, 4, 128, 152064, 32768, false, 1e6, nil},
	{"qwen2.5-14b", "qwen2", 5120, 13824, 48, 40, 8, 128, 152064, 32768, false, 1e6, nil},
	{"qwen2.5-32b", "qwen2", 5120, 27648, 64, 40, 8, 128, 152064, 32768, false, 1e6, nil},
	{"qwen3-0.6b", "qwen3", 1024, 3072, 28, 16, 8, 128, 151936, 40960, true, 1e6, nil},
	{"qwen3-1.7b", "qwen3", 2048, 6144, 28, 16, 8, 128, 151936, 40960, true, 1e6, nil},
	{"qwen3-4b", "qwen3", 2560, 9728, 36, 32, 8, 128, 151936, 40960, true, 1e6, nil},
	{"qwen3-8b", "qwen3", 4096, 12288, 36, 32, 8, 128, 151936, 40960, false, 1e6, nil},
	{"qwen3-14b", "qwen3", 5120, 17408, 40, 40, 8, 128, 151936, 40960, false, 1e6, nil},
	{"qwen3-32b", "qwen3", 5120, 25600, 64, 64, 8, 128, 151936, 40960, false, 1e6, nil},
	{"mistral-7b", "mistral", 4096, 14336, 32, 32, 8, 128, 32768, 32768, false, 1e6, full},
	{"mistral-7b-v0.1", "mistral", 4096, 14336, 32, 32, 8, 128, 32000, 32768, false, 1e4, map[string]any{"sliding_window": 4096.0}},
	{"mistral-nemo-12b", "mistral", 5120, 14336, 40, 32, 8, 128, 131072, 131072, false, 1e6, full},
	{"mistral-small-24b", "mistral", 5120, 32768, 40, 32, 8, 128, 131072, 32768, false, 1e8, full},
	{"ministral-3-3b", "ministral3", 3072, 9216, 26, 32, 8, 128, 131072, 262144, true, 1e6, nil},
	{"ministral-3-8b", "ministral3", 4096, 14336, 34, 32, 8, 128, 131072, 262144, false, 1e6, nil},
	{"ministral-3-14b", "ministral3", 5120, 16384, 40, 32, 8, 128, 131072, 262144, false, 1e9, nil},
	{"gemma-2-2b", "gemma2", 2304, 9216, 26, 8, 4, 256, 256000, 8192, true, 1e4, map[string]any{"query_pre_attn_scalar": 256.0}},
	{"gemma-2-9b", "gemma2", 3584, 14336, 42, 16, 8, 256, 256000, 8192, true, 1e4, map[string]any{"query_pre_attn_scalar": 256.0}},
	{"gemma-2-27b", "gemma2", 4608, 36864, 46, 32, 16, 128, 256000, 8192, true, 1e4, map[string]any{"query_pre_attn_scalar": 144.0}},
	{"gemma-3-270m", "gemma3_text", 640, 2048, 18, 4, 1, 256, 262144, 32768, true, 1e6, gemma3(512, 256)},
	{"gemma-3-1b", "gemma3_text", 1152, 6912, 26, 4, 1, 256, 262144, 32768, true, 1e6, gemma3(512, 256)},
	{"gemma-3-4b", "gemma3_text", 2560, 10240, 34, 8, 4, 256, 262208, 131072, true, 1e6, gemma3(1024, 256)},
	{"gemma-3-12b", "gemma3_text", 3840, 15360, 48, 16, 8, 256, 262208, 131072, true, 1e6, gemma3(1024, 256)},
	{"gemma-3-27b", "gemma3_text", 5376, 21504, 62, 32, 16, 128, 262208, 131072, true, 1e6, gemma3(1024, 168)},
	{"phi-3-mini", "phi3", 3072, 8192, 32, 32, 32, 96, 32064, 4096, false, 1e4, map[string]any{"sliding_window": 2047.0}},
	{"phi-3.5-mini", "phi3", 3072, 8192, 32, 32, 32, 96, 32064, 131072, false, 1e4, full},
	{"phi-4-mini", "phi3", 3072, 8192, 32, 24, 8, 128, 200064, 131072, true, 1e4, phi4mini},
	{"phi-4", "phi3", 5120, 17920, 40, 40, 10, 128, 100352, 16384, false, 2.5e5, full},
	{"smollm3-3b", "smollm3", 2048, 11008, 36, 16, 4, 128, 128256, 65536, true, 5e6, nil},
	{"granite-3.3-2b", "granite", 2048, 8192, 40, 32, 8, 64, 49159, 131072, true, 1e7, granite(0.015625, 8)},
	{"granite-3.3-8b", "granite", 4096, 12800, 40, 32, 8, 128, 49159, 131072, true, 1e7, granite(0.0078125, 16)},
	{"granite-4.0-350m", "granitemoehybrid", 1024, 2048, 28, 16, 4, 64, 100352, 32768, true, 1e7, granite4(28, 2048)},
	{"granite-4.0-1b", "granitemoehybrid", 2048, 4096, 40, 16, 4, 128, 100352, 131072, true, 1e7, granite4(40, 4096)},
	{"granite-4.0-micro", "granitemoehybrid", 2560, 8192, 40, 40, 8, 64, 100352, 131072, true, 1e7, granite4(40, 8192)},
	{"olmo-2-1b", "olmo2", 2048, 8192, 16, 16, 16, 128, 100352, 4096, false, 5e5, nil},
	{"olmo-2-7b", "olmo2", 4096, 11008, 32, 32, 32, 128, 100352, 4096, false, 5e5, nil},
	{"olmo-2-13b", "olmo2", 5120, 13824, 40, 40, 40, 128, 100352, 4096, false, 5e5, nil},
	{"olmo-2-32b", "olmo2", 5120, 27648, 64, 40, 8, 128, 100352, 4096, false, 5e5, nil},
}

// full is a model without a window whose class has one by default.
var full = map[string]any{"sliding_window": nil}

// phi4mini rotates a part of each head.
var phi4mini = map[string]any{"sliding_window": nil, "partial_rotary_factor": 0.75}

// gemma3 is the window and the scale of the scores of a Gemma 3.
func gemma3(window, scalar float64) map[string]any {
	return map[string]any{"sliding_window": window, "query_pre_attn_scalar": scalar}
}

// granite are the factors of the Granite 3 family.
func granite(scores, logits float64) map[string]any {
	return map[string]any{
		"embedding_multiplier": 12.0, "residual_multiplier": 0.22, "attention_multiplier": scores, "logits_scaling": logits,
	}
}

// granite4 are the keys of Granite 4's dense models, whose factors change no size.
func granite4(layers, width int) map[string]any {
	return map[string]any{
		"layer_types": slices.Repeat([]any{"attention"}, layers), "position_embedding_type": "rope", "num_local_experts": 0.0,
		"shared_intermediate_size": float64(width),
	}
}

// ShapeNames lists the architectures that Shape knows.
func ShapeNames() (names []string) {
	for _, s := range shapes {
		names = append(names, s.name)
	}
	return names
}

// Shape is the configuration of a common model, by a name such as llama-3.1-8b (upper case and a maker's prefix are
// allowed): enough to plan its memory, or to try its shape with random weights.
func Shape(name string) (shape spec.Spec, known bool) {
	wanted := strings.ToLower(name[strings.LastIndexByte(name, '/')+1:])
	for _, s := range shapes {
		if s.name != strings.TrimSuffix(wanted, "-instruct") {
			continue
		}
		number := func(n int) any { return float64(n) }
		k := &spec.Keys{Path: s.name, Values: map[string]any{
			"model_type": s.kind, "hidden_size": number(s.hidden), "intermediate_size": number(s.intermediate),
			"num_hidden_layers": number(s.layers), "num_attention_heads": number(s.heads), "num_key_value_heads": number(s.kvHeads),
			"head_dim": number(s.headDim), "vocab_size": number(s.vocab), "max_position_embeddings": number(s.positions),
			"rms_norm_eps": 1e-5, "rope_theta": s.theta, "tie_word_embeddings": s.tied,
		}}
		maps.Copy(k.Values, s.more)
		family, err := architectures.Find(k)
		if err == nil {
			shape, err = family.Read(k)
		}
		return shape, err == nil
	}
	return spec.Spec{}, false
}
