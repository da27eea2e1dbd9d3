package architectures

import "qlora-wgpu/internal/model/spec"

// Mistral is Llama without biases, whose layers all slide where sliding_window is not null. Source: transformers'
// modeling_mistral.py and configuration_mistral.py.
var Mistral = register(spec.Family{
	Names: []string{"MistralForCausalLM"}, ModelType: "mistral", WrittenAs: &Llama,
	Spec: func(k *spec.Keys) (spec.Spec, error) {
		k.Default("num_key_value_heads", 8.0)
		k.Default("max_position_embeddings", 4096.0*32)
		s, _ := Llama.Spec(k)
		window := k.Window(4096, s.MaxPositions)
		for i := range s.Layers {
			l := &s.Layers[i]
			l.QKVBias, l.OBias, l.MLPBias, l.Window = false, false, false, window
		}
		return s, k.Err()
	},
})
