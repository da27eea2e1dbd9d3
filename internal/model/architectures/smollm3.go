package architectures

import "qlora-wgpu/internal/model/spec"

// SmolLM3 is Llama with layers in which nothing rotates: those of which no_rope_layers says 0, or every
// no_rope_layer_interval-th. Where there is a window, these slide. Source: transformers' modeling_smollm3.py and
// configuration_smollm3.py.
var SmolLM3 = register(spec.Family{
	Names: []string{"SmolLM3ForCausalLM"}, ModelType: "smollm3", GGUF: "smollm3", Interleaved: true,
	Spec: func(k *spec.Keys) (spec.Spec, error) {
		k.Default("max_position_embeddings", 32768.0)
		k.Default("num_key_value_heads", 4.0)
		k.Default("rope_theta", 2e6)
		k.Default("tie_word_embeddings", true)
		s, _ := Llama.Spec(k)
		interval, rotates := k.Count("no_rope_layer_interval", 4), k.Ints("no_rope_layers")
		if rotates != nil && len(rotates) < len(s.Layers) {
			k.Refuse("no_rope_layers", "it has to name every layer")
			return s, k.Err()
		}
		still := func(layer int) bool {
			if rotates != nil {
				return rotates[layer] == 0
			}
			return (layer+1)%interval == 0
		}
		window := k.Window(0, s.MaxPositions)
		slides := k.Slides(len(s.Layers), still)
		uses := k.Bool("use_sliding_window", false)
		for i := range s.Layers {
			l := &s.Layers[i]
			if still(i) {
				l.RoPE = nil
			}
			if uses && slides[i] {
				l.Window = window
			}
		}
		return s, k.Err()
	},
})
