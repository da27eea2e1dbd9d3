package architectures

import (
	"slices"

	"qlora-wgpu/internal/model/spec"
)

// Llama is the plain decoder: no biases unless the configuration asks for them. Source: transformers' modeling_llama.py
// and the defaults of its LlamaConfig; sizes have none.
var Llama = register(spec.Family{
	Names: []string{"LlamaForCausalLM"}, ModelType: "llama", GGUF: "llama", Interleaved: true,
	Spec: func(k *spec.Keys) (spec.Spec, error) {
		hidden, heads := k.Width("hidden_size"), k.Count("num_attention_heads", 0)
		layer := spec.Layer{
			Heads: heads, KVHeads: k.Count("num_key_value_heads", heads), HeadDim: k.HeadDim(hidden, heads),
			MLP: k.Width("intermediate_size"),
		}
		layer.RoPE = k.RoPE(layer.HeadDim, 10000)
		layer.QKVBias, layer.MLPBias = k.Bool("attention_bias", false), k.Bool("mlp_bias", false)
		layer.OBias = layer.QKVBias
		k.SiLU("hidden_act")
		return spec.Spec{
			Hidden: hidden, Vocab: k.Width("vocab_size"), MaxPositions: k.Positions("max_position_embeddings", 2048),
			NormEps: k.Float("rms_norm_eps", 1e-6), TiedHead: k.Bool("tie_word_embeddings", false),
			Layers: slices.Repeat([]spec.Layer{layer}, k.Count("num_hidden_layers", 0)),
		}, k.Err()
	},
})
