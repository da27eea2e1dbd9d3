package architectures

import "qlora-wgpu/internal/model/spec"

// Qwen3 is Llama with normed heads of queries and keys, and a head_dim of its own. Source: transformers'
// modeling_qwen3.py and configuration_qwen3.py.
var Qwen3 = register(spec.Family{
	Names: []string{"Qwen3ForCausalLM"}, ModelType: "qwen3", GGUF: "qwen3",
	Spec: func(k *spec.Keys) (spec.Spec, error) {
		k.Default("max_position_embeddings", 32768.0)
		k.Default("head_dim", 128.0)
		s, _ := Llama.Spec(k)
		k.QwenWindows(&s)
		for i := range s.Layers {
			s.Layers[i].QKNorm, s.Layers[i].MLPBias = spec.PerHead, false
		}
		return s, k.Err()
	},
})
