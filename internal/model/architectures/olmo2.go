package architectures

import "qlora-wgpu/internal/model/spec"

// OLMo2 is Llama with its norms behind attention and MLP, and with normed queries and keys, all heads at once. Source:
// transformers' modeling_olmo2.py and configuration_olmo2.py.
var OLMo2 = register(spec.Family{
	Names: []string{"Olmo2ForCausalLM"}, ModelType: "olmo2", GGUF: "olmo2",
	Spec: func(k *spec.Keys) (spec.Spec, error) {
		k.Default("rms_norm_eps", 1e-5)
		s, _ := Llama.Spec(k)
		for i := range s.Layers {
			l := &s.Layers[i]
			l.Norms, l.QKNorm, l.MLPBias = spec.NormsBehind, spec.WholeWidth, false
		}
		return s, k.Err()
	},
})
