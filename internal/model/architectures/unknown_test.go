package architectures

import (
	"encoding/json/v2"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/usererr"
)

// The keys are those of the models' config.json, those that tell what they are among them.
func TestAModelOfNoFamilyIsNamedByItsKindWithTheNearestFamily(t *testing.T) {
	for _, c := range []struct{ config, message, nearest string }{
		{`{"architectures":["Qwen3MoeForCausalLM"],"model_type":"qwen3_moe","num_experts":128,"num_experts_per_tok":8}`,
			`architectures is ["Qwen3MoeForCausalLM"], which is a mixture of experts (num_experts is 128) (known are `, "Qwen3ForCausalLM"},
		{`{"architectures":["MixtralForCausalLM"],"model_type":"mixtral","num_local_experts":8}`,
			"which is a mixture of experts (num_local_experts is 8) (known", "MistralForCausalLM"},
		{`{"architectures":["DeepseekV3ForCausalLM"],"model_type":"deepseek_v3","n_routed_experts":256,"kv_lora_rank":512}`,
			"which is a mixture of experts (n_routed_experts is 256) and has keys and values of low rank (kv_lora_rank is 512) (",
			"LlamaForCausalLM"},
		{`{"architectures":["Qwen3_5ForCausalLM"],"model_type":"qwen3_5_text","layer_types":["linear_attention","full_attention"]}`,
			"which has layers that are not attention (layer_types has linear_attention) (known", "Qwen3ForCausalLM"},
		{`{"architectures":["GraniteMoeForCausalLM"],"model_type":"granitemoe","num_local_experts":32}`,
			"which is a mixture of experts (num_local_experts is 32) (known", "GraniteForCausalLM"},
		{`{"architectures":["Lfm2ForCausalLM"],"model_type":"lfm2","conv_L_cache":3}`,
			"which has layers that are not attention (conv_L_cache is 3) (known", "LlamaForCausalLM"},
		{`{"architectures":["BertForMaskedLM"],"model_type":"bert","hidden_act":"gelu"}`, "which is an encoder (known", ""},
		{`{"architectures":["BertModel"],"model_type":"bert","type_vocab_size":2}`, "which is an encoder (type_vocab_size is 2) (known", ""},
		{`{"architectures":["T5ForConditionalGeneration"],"model_type":"t5","is_encoder_decoder":true,"vocab_size":9}`,
			"which is an encoder-decoder (is_encoder_decoder is true) (known", ""},
		{`{"architectures":["WhisperForConditionalGeneration"],"model_type":"whisper","is_encoder_decoder":true,"num_mel_bins":80}`,
			"which is an encoder-decoder (is_encoder_decoder is true) and reads sound (num_mel_bins is 80) (known", ""},
		{`{"architectures":["ViTModel"],"model_type":"vit","patch_size":16}`,
			"which reads images or sound and no text (patch_size is 16) (known", ""},
		{`{"architectures":["Qwen2VLForConditionalGeneration"],"model_type":"qwen2_vl","vision_config":{"patch_size":14},"vocab_size":9}`,
			"which reads images or sound beside text (it has vision_config) (known", "Qwen2ForCausalLM"},
		{`{"architectures":["Llama4ForConditionalGeneration"],"text_config":{"num_local_experts":16,"model_type":"llama4_text"}}`,
			"which reads images or sound beside text (it has text_config) and is a mixture of experts (num_local_experts is 16) (known",
			"LlamaForCausalLM"},
		{`{"architectures":["InternVLForConditionalGeneration"],"vision_config":{},"text_config":{"model_type":"qwen2"}}`,
			"which reads images or sound beside text (it has vision_config) (known", "Qwen2ForCausalLM"},
		{`{"architectures":["Qwen2ForSequenceClassification"],"model_type":"qwen2"}`, "which has a head that gives no tokens (known",
			"Qwen2ForCausalLM"},
		{`{"architectures":["Olmo3ForCausalLM"],"model_type":"olmo3"}`, `architectures is ["Olmo3ForCausalLM"] (known`, "Olmo2ForCausalLM"},
		{`{"architectures":["Gemma3nForCausalLM"],"model_type":"gemma3n_text","num_experts":0,"is_causal":true}`,
			`architectures is ["Gemma3nForCausalLM"] (known`, "Gemma3ForCausalLM"},
		{`{"model_type":"phimoe","num_local_experts":16}`, `model_type is "phimoe", which is a mixture of experts`, "phi3"},
		{`{"model_type":"starcoder2"}`, `model_type is "starcoder2" (known are gemma2, gemma3_text, `, "llama"},
		{`{"vocab_size":9}`, "model_type is null (known are gemma2", ""},
	} {
		k := &spec.Keys{Path: "config.json"}
		require.NoError(t, json.Unmarshal([]byte(c.config), &k.Values))
		_, err := Find(k)
		requireUnknown(t, err, c.message, c.nearest)
	}
}

// requireUnknown looks at what is said, and at the nearest family, which an empty one says is none.
func requireUnknown(t *testing.T, err error, message, nearest string) {
	t.Helper()
	require.True(t, usererr.Is(err, usererr.Unsupported), "%v", err)
	require.ErrorContains(t, err, message)
	if nearest == "" {
		require.NotContains(t, err.Error(), "the nearest is")
	} else {
		require.ErrorContains(t, err, "; the nearest is "+nearest+")")
	}
}

func TestAGGUFOfNoFamilyIsNamedByItsKindWithTheNearestFamily(t *testing.T) {
	for _, c := range []struct {
		architecture     string
		values           map[string]any
		message, nearest string
	}{
		{"qwen3moe", map[string]any{"expert_count": 8.0},
			`the architecture is "qwen3moe", which is a mixture of experts (expert_count is 8)`, "qwen3"},
		{"granitehybrid", map[string]any{"ssm.state_size": 16.0}, "which has layers that are not attention (ssm.state_size is 16)", "granite"},
		{"bert", map[string]any{"attention.causal": false}, "which is an encoder (attention.causal is false)", ""},
		{"gemma", map[string]any{"attention.causal": true, "expert_count": 0.0}, `the architecture is "gemma" (known are`, "gemma2"},
		{"clip", map[string]any{"has_vision_encoder": true}, "which reads images or sound and no text (has_vision_encoder is true)", ""},
		{"gpt-oss", map[string]any{"expert_count": 32.0}, "which is a mixture of experts", "llama"},
	} {
		_, err := FindGGUF(c.architecture, &spec.Keys{Path: "m.gguf", Values: c.values})
		requireUnknown(t, err, c.message, c.nearest)
	}
	_, err := FindGGUF("mistral", &spec.Keys{Path: "m.gguf"})
	require.ErrorContains(t, err, "; the nearest is mistral; of this one, the Hugging Face folder is)")
}
