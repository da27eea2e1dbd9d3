package architectures

import "qlora-wgpu/internal/model/spec"

// Granite is Llama with four factors: of the embedding, of the scores, of what attention and MLP add, and of the
// logits. Source: transformers' modeling_granite.py and configuration_granite.py; Granite 3 has it, and dense models of
// Granite 4.
var Granite = register(spec.Family{
	Names: []string{"GraniteForCausalLM"}, ModelType: "granite", GGUF: "granite", Interleaved: true,
	Spec: func(k *spec.Keys) (spec.Spec, error) {
		s, _ := Llama.Spec(k)
		s.EmbeddingScale, s.ResidualScale = k.Positive("embedding_multiplier", 1), k.Positive("residual_multiplier", 1)
		s.LogitScale = 1 / k.Positive("logits_scaling", 1)
		scores := k.Positive("attention_multiplier", 1)
		for i := range s.Layers {
			s.Layers[i].ScoreScale = scores
		}
		return s, k.Err()
	},
})
