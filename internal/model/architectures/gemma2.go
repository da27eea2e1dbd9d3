package architectures

import (
	"math"

	"qlora-wgpu/internal/model/spec"
)

// Gemma2 is a decoder with norms around attention and MLP, whose weights are stored less 1, scaled embeddings, soft
// caps of scores and logits, GELU, and a window in every other layer. Source: transformers' modeling_gemma2.py and
// configuration_gemma2.py.
var Gemma2 = register(spec.Family{
	Names: []string{"Gemma2ForCausalLM"}, ModelType: "gemma2", GGUF: "gemma2", Implied: gemmaScale(46),
	Spec: func(k *spec.Keys) (spec.Spec, error) {
		k.Defaults(map[string]float64{"attn_logit_softcapping": 50, "final_logit_softcapping": 30, "vocab_size": 256000})
		s, _ := gemma(k, k.RoPE)
		window := k.Window(4096, s.MaxPositions)
		slides := k.Slides(len(s.Layers), func(layer int) bool { return layer%2 == 0 })
		limit := k.Float("attn_logit_softcapping", 0)
		for i := range s.Layers {
			s.Layers[i].ScoreSoftCap = limit
			if slides[i] {
				s.Layers[i].Window = window
			}
		}
		return s, k.Err()
	},
})

// gemmaScale implies the scale of the scores: llama.cpp's is 1/√head_dim, but in the largest model, which is told by
// its layers, 1/√(hidden_size/heads).
func gemmaScale(layersOfLargest float64) func(k *spec.Keys) {
	return func(k *spec.Keys) {
		scale := k.Float("head_dim", 256)
		if k.Float("num_hidden_layers", 0) == layersOfLargest {
			scale = k.Float("hidden_size", 0) / k.Float("num_attention_heads", 1)
		}
		k.Default("query_pre_attn_scalar", scale)
	}
}

// ScoreFactor is what the queries of a layer have to be multiplied by for llama.cpp, which has a scale of the scores of
// its own for some families.
func ScoreFactor(s spec.Spec, layer int) float64 {
	own, _ := Of(s)
	l := s.Layers[layer]
	k := &spec.Keys{Values: map[string]any{
		"head_dim": float64(l.HeadDim), "num_hidden_layers": float64(len(s.Layers)), "hidden_size": float64(s.Hidden),
		"num_attention_heads": float64(l.Heads),
	}}
	if own.Implied != nil {
		own.Implied(k)
	}
	const key = "query_pre_attn_scalar"
	if k.Values[key] == nil {
		return 1
	}
	factor := l.ScoreScale * math.Sqrt(k.Float(key, 1))
	if math.Abs(factor-1) < 1e-6 {
		return 1
	}
	return factor
}

// gemma is what Gemma 2 and 3 share. rope reads the rotary embedding of heads of so many dimensions.
func gemma(k *spec.Keys, rope func(headDim int, theta float64) *spec.RoPE) (spec.Spec, error) {
	k.Defaults(map[string]float64{ // those of both classes
		"max_position_embeddings": 8192, "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
		"num_attention_heads": 8, "num_key_value_heads": 4,
	})
	hidden, heads := k.Width("hidden_size"), k.Count("num_attention_heads", 0)
	layer := spec.Layer{
		Heads: heads, KVHeads: k.Count("num_key_value_heads", heads), HeadDim: k.Count("head_dim", 256), MLP: k.Width("intermediate_size"),
		Norms: spec.NormsAround, GELU: true,
	}
	layer.QKVBias = k.Bool("attention_bias", false)
	layer.OBias = layer.QKVBias
	layer.ScoreScale = 1 / math.Sqrt(k.Positive("query_pre_attn_scalar", 256))
	if rope != nil {
		layer.RoPE = rope(layer.HeadDim, 10000)
	}
	k.Causal()
	k.GELU("hidden_activation")
	k.Text("hidden_act", "") // of the hub's files; transformers does not read it
	s := spec.Spec{
		Hidden: hidden, Vocab: k.Width("vocab_size"), MaxPositions: k.Positions("max_position_embeddings", 0),
		NormEps: k.Float("rms_norm_eps", 1e-6), TiedHead: k.Bool("tie_word_embeddings", true), NormPlusOne: true,
		EmbeddingScale: math.Sqrt(float64(hidden)), LogitSoftCap: k.Float("final_logit_softcapping", 0),
	}
	for range k.Count("num_hidden_layers", 0) {
		s.Layers = append(s.Layers, layer)
	}
	return s, k.Err()
}
