package architectures

import "qlora-wgpu/internal/model/spec"

// Qwen2 is Llama with biases on q, k and v, whatever the configuration says. Source: transformers' modeling_qwen2.py
// and configuration_qwen2.py; Qwen 1.5, 2 and 2.5 have it.
var Qwen2 = register(spec.Family{
	Names: []string{"Qwen2ForCausalLM"}, ModelType: "qwen2", GGUF: "qwen2",
	Spec: func(k *spec.Keys) (spec.Spec, error) {
		k.Default("max_position_embeddings", 32768.0)
		s, _ := Llama.Spec(k)
		k.QwenWindows(&s)
		for i := range s.Layers {
			l := &s.Layers[i]
			l.QKVBias, l.OBias, l.MLPBias = true, false, false
		}
		return s, k.Err()
	},
})
