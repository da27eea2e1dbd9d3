package architectures

import "qlora-wgpu/internal/model/spec"

// Ministral3 is Llama without biases, stretched by YaRN, whose queries grow with their position beyond the original
// context; all layers slide where there is a window. Source: transformers' modeling_ministral3.py and
// configuration_ministral3.py. llama.cpp's architecture has other Mistrals beside it, which are not stretched or whose
// queries stay as they are.
var Ministral3 = register(spec.Family{
	Names: []string{"Ministral3ForCausalLM"}, ModelType: "ministral3", GGUF: "mistral3", Interleaved: true,
	Implied: func(k *spec.Keys) {
		k.Default("rope_scaling", map[string]any{"rope_type": "default"})
		scaling := k.Values["rope_scaling"].(map[string]any)
		scaling["llama_4_scaling_beta"] = k.Float("attention_temperature_scale", 0)
	},
	Spec: func(k *spec.Keys) (spec.Spec, error) {
		k.Defaults(map[string]float64{ // the class's, as files within Mistral3ForConditionalGeneration leave them out
			"vocab_size": 131072, "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 34, "num_attention_heads": 32,
			"num_key_value_heads": 8, "head_dim": 128, "max_position_embeddings": 262144, "rms_norm_eps": 1e-5,
		})
		if k.Values["rope_parameters"] == nil && k.Values["rope_scaling"] == nil {
			k.Values["rope_parameters"] = map[string]any{
				"rope_type": "yarn", "rope_theta": 1e6, "factor": 16.0, "original_max_position_embeddings": 16384.0,
				"beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0, "mscale_all_dim": 1.0, "llama_4_scaling_beta": 0.1,
			}
		}
		s, _ := Llama.Spec(k)
		if k.Err() != nil {
			return s, k.Err()
		}
		window, rope := k.Window(0, s.MaxPositions), s.Layers[0].RoPE
		k.ScaleQueries(rope, s.Layers[0].HeadDim)
		for i := range s.Layers {
			l := &s.Layers[i]
			l.QKVBias, l.OBias, l.MLPBias, l.Window = false, false, false, window
		}
		return s, k.Err()
	},
})
