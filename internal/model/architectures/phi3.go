package architectures

import "qlora-wgpu/internal/model/spec"

// Phi3 is Llama with one matrix for q, k and v and one for gate and up, a window in all layers where there is one, and
// LongRoPE over a part of each head. Source: transformers' modeling_phi3.py and configuration_phi3.py; Phi-3, 3.5 and 4
// have it.
var Phi3 = register(spec.Family{
	Names: []string{"Phi3ForCausalLM"}, ModelType: "phi3", GGUF: "phi3",
	Spec: func(k *spec.Keys) (spec.Spec, error) {
		k.Default("max_position_embeddings", 4096.0)
		k.Default("rms_norm_eps", 1e-5)
		k.Default("original_max_position_embeddings", 4096.0)
		s, _ := Llama.Spec(k)
		window := k.Window(0, s.MaxPositions)
		for i := range s.Layers {
			l := &s.Layers[i]
			l.FusedQKV, l.FusedMLP, l.Window = true, true, window
			l.QKVBias, l.OBias, l.MLPBias = false, false, false
		}
		return s, k.Err()
	},
})
