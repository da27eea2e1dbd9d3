package architectures

import "qlora-wgpu/internal/model/spec"

// Gemma3 is Gemma 2 without soft caps, with normed heads of queries and keys, and with a full layer behind every five
// that slide, which rotate by another base. Source: transformers' modeling_gemma3.py and configuration_gemma3.py.
var Gemma3 = register(spec.Family{
	Names: []string{"Gemma3ForCausalLM"}, ModelType: "gemma3_text", GGUF: "gemma3", Implied: gemmaScale(62),
	Spec: func(k *spec.Keys) (spec.Spec, error) {
		k.Defaults(map[string]float64{"max_position_embeddings": 131072, "vocab_size": 262208})
		s, _ := gemma(k, nil)
		if k.Err() != nil {
			return s, k.Err()
		}
		headDim := s.Layers[0].HeadDim
		var full, local *spec.RoPE
		if k.Nested("rope_parameters") {
			full, local = k.RoPEOf("full_attention", headDim, 1e6), k.RoPEOf("sliding_attention", headDim, 1e4)
		} else {
			full = k.RoPE(headDim, 1e6)
			local = &spec.RoPE{Dim: full.Dim, Theta: k.Positive("rope_local_base_freq", 1e4)}
		}
		k.Float("attn_logit_softcapping", 0) // which transformers reads and does not use
		window, pattern := k.Window(4096, s.MaxPositions), k.Count("sliding_window_pattern", k.Count("_sliding_window_pattern", 6))
		slides := k.Slides(len(s.Layers), func(layer int) bool { return (layer+1)%pattern != 0 })
		for i := range s.Layers {
			l := &s.Layers[i]
			l.QKNorm, l.RoPE = spec.PerHead, full
			if slides[i] {
				l.RoPE, l.Window = local, window
			}
		}
		return s, k.Err()
	},
})
