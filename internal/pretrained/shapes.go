package pretrained

import (
	"strings"

	"qlora-wgpu/internal/model/architectures"
	"qlora-wgpu/internal/model/spec"
)

// shapes are common models, as their config.json describes them. Mistral-7B is version 0.3, which is a Llama by another
// name.
var shapes = []struct {
	name, kind                                                   string // kind is the model_type
	hidden, intermediate, layers, heads, kvHeads, headDim, vocab int
	positions                                                    int
	tied                                                         bool
	theta                                                        float64
}{
	{"smollm2-135m", "llama", 576, 1536, 30, 9, 3, 64, 49152, 8192, true, 1e5},
	{"smollm2-360m", "llama", 960, 2560, 32, 15, 5, 64, 49152, 8192, true, 1e5},
	{"smollm2-1.7b", "llama", 2048, 8192, 24, 32, 32, 64, 49152, 8192, true, 1.3e5},
	{"llama-3.2-1b", "llama", 2048, 8192, 16, 32, 8, 64, 128256, 131072, true, 5e5},
	{"llama-3.2-3b", "llama", 3072, 8192, 28, 24, 8, 128, 128256, 131072, true, 5e5},
	{"llama-3.1-8b", "llama", 4096, 14336, 32, 32, 8, 128, 128256, 131072, false, 5e5},
	{"llama-3.3-70b", "llama", 8192, 28672, 80, 64, 8, 128, 128256, 131072, false, 5e5},
	{"qwen2.5-0.5b", "qwen2", 896, 4864, 24, 14, 2, 64, 151936, 32768, true, 1e6},
	{"qwen2.5-1.5b", "qwen2", 1536, 8960, 28, 12, 2, 128, 151936, 32768, true, 1e6},
	{"qwen2.5-3b", "qwen2", 2048, 11008, 36, 16, 2, 128, 151936, 32768, true, 1e6},
	{"qwen2.5-7b", "qwen2", 3584, 18944, 28, 28, 4, 128, 152064, 32768, false, 1e6},
	{"qwen2.5-14b", "qwen2", 5120, 13824, 48, 40, 8, 128, 152064, 32768, false, 1e6},
	{"qwen2.5-32b", "qwen2", 5120, 27648, 64, 40, 8, 128, 152064, 32768, false, 1e6},
	{"qwen3-0.6b", "qwen3", 1024, 3072, 28, 16, 8, 128, 151936, 40960, true, 1e6},
	{"qwen3-1.7b", "qwen3", 2048, 6144, 28, 16, 8, 128, 151936, 40960, true, 1e6},
	{"qwen3-4b", "qwen3", 2560, 9728, 36, 32, 8, 128, 151936, 40960, true, 1e6},
	{"qwen3-8b", "qwen3", 4096, 12288, 36, 32, 8, 128, 151936, 40960, false, 1e6},
	{"qwen3-14b", "qwen3", 5120, 17408, 40, 40, 8, 128, 151936, 40960, false, 1e6},
	{"qwen3-32b", "qwen3", 5120, 25600, 64, 64, 8, 128, 151936, 40960, false, 1e6},
	{"mistral-7b", "llama", 4096, 14336, 32, 32, 8, 128, 32768, 32768, false, 1e6},
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
		family, err := architectures.Find(k)
		if err == nil {
			shape, err = family.Read(k)
		}
		return shape, err == nil
	}
	return spec.Spec{}, false
}
