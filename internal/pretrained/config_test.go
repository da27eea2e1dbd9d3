package pretrained

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/usererr"
)

const minimal = `{"model_type":"llama","hidden_size":128,"intermediate_size":320,"num_hidden_layers":2,"num_attention_heads":4,` +
	`"vocab_size":384}`

// with adds keys to the minimal configuration.
func with(keys string) string { return strings.TrimSuffix(minimal, "}") + "," + keys + "}" }

// described reads a config.json.
func described(config string) (*Model, error) {
	m, _ := newModel("m")
	k, err := readKeys([]byte(config), "m/config.json")
	if err == nil {
		_, err = readQuantization(k)
	}
	if err == nil {
		err = m.describe(k, nil)
	}
	return m, err
}

// layers are n alike, which rotate by the usual base.
func layers(n, heads, kvHeads, headDim, mlp int, bias bool) []spec.Layer {
	layer := spec.Layer{Heads: heads, KVHeads: kvHeads, HeadDim: headDim, MLP: mlp, QKVBias: bias, OBias: bias, MLPBias: bias}
	return rotating(slices.Repeat([]spec.Layer{layer}, n), spec.RoPE{Dim: headDim, Theta: 10000})
}

// rotating are the layers with another rotary embedding.
func rotating(layers []spec.Layer, rope spec.RoPE) []spec.Layer {
	for i := range layers {
		layers[i].RoPE = &rope
	}
	return layers
}

func TestConfigDefaults(t *testing.T) {
	m, err := described(minimal)
	require.NoError(t, err)
	require.Equal(t, spec.Spec{
		Family: "LlamaForCausalLM", Hidden: 128, Vocab: 384, MaxPositions: 2048, NormEps: 1e-6,
		Layers: layers(2, 4, 4, 32, 320, false),
	}, m.Spec)
	require.Equal(t, Tokens{BOS: -1, Pad: -1}, m.Tokens)

	for family, want := range map[string]struct {
		positions, headDim int
		qkvBias            bool
		qkNorm             spec.QKNorm
	}{"llama": {2048, 32, false, spec.NoQKNorm}, "qwen2": {32768, 32, true, spec.NoQKNorm}, "qwen3": {32768, 128, false, spec.PerHead}} {
		m, err := described(strings.Replace(minimal, "llama", family, 1))
		require.NoError(t, err)
		layer := m.Spec.Layers[0]
		require.Equal(t, want.positions, m.Spec.MaxPositions, family)
		require.Equal(t, []int{want.headDim, want.headDim}, []int{layer.HeadDim, layer.RoPE.Dim}, family)
		require.Equal(t, want.qkvBias, layer.QKVBias, family)
		require.Equal(t, want.qkNorm, layer.QKNorm, family)
	}
}

// TestConfigStyles: Llama 3.2 as transformers 4 writes it, and the same in transformers 5's words.
func TestConfigStyles(t *testing.T) {
	common := `{"architectures":["LlamaForCausalLM"],"attention_bias":false,"bos_token_id":128000,"eos_token_id":[128001,128008,128009],
		"head_dim":64,"hidden_act":"silu","hidden_size":2048,"initializer_range":0.02,"intermediate_size":8192,"max_position_embeddings":131072,
		"mlp_bias":false,"model_type":"llama","num_attention_heads":32,"num_hidden_layers":16,"num_key_value_heads":8,"pad_token_id":null,
		"rms_norm_eps":1e-05,"tie_word_embeddings":true,"torch_dtype":"bfloat16","vocab_size":128256,`
	scaling := `"factor":32.0,"high_freq_factor":4.0,"low_freq_factor":1.0,"original_max_position_embeddings":8192,"rope_type":"llama3"`
	want := spec.Spec{
		Family: "LlamaForCausalLM", Hidden: 2048, Vocab: 128256, MaxPositions: 131072, NormEps: 1e-5, TiedHead: true,
		Layers: rotating(layers(16, 32, 8, 64, 8192, false), spec.RoPE{
			Dim: 64, Theta: 500000, Scaling: "llama3", Factor: 32, LowFreqFactor: 1, HighFreqFactor: 4, OriginalMaxPositions: 8192,
		}),
	}
	for _, rope := range []string{
		`"rope_theta":500000.0,"rope_scaling":{` + scaling + `}}`,
		`"rope_parameters":{"rope_theta":500000.0,` + scaling + `}}`,
	} {
		m, err := described(common + rope)
		require.NoError(t, err)
		require.Equal(t, want, m.Spec)
		require.Equal(t, Tokens{BOS: 128000, EOS: []int{128001, 128008, 128009}, Stop: []int{128001, 128008, 128009}, Pad: -1}, m.Tokens)
	}

	m, err := described(with(`"rope_scaling":{"type":"linear","factor":2.5},"eos_token_id":2,` +
		`"attention_bias":true,"mlp_bias":true,"num_key_value_heads":2`))
	require.NoError(t, err)
	require.Equal(t, []int{2}, m.Tokens.EOS)
	scaled := spec.RoPE{Dim: 32, Theta: 10000, Scaling: "linear", Factor: 2.5}
	require.Equal(t, rotating(layers(2, 4, 2, 32, 320, true), scaled), m.Spec.Layers)
	for _, none := range []string{`"rope_scaling":null`, `"rope_scaling":{"rope_type":"default"}`, `"rope_parameters":{"rope_theta":7}`} {
		m, err := described(with(none))
		require.NoError(t, err)
		require.Empty(t, m.Spec.Layers[0].RoPE.Scaling)
	}
}

// qwen2 is the minimal configuration of that family with some keys.
func qwen2(keys string) string { return strings.Replace(with(keys), "llama", "qwen2", 1) }

func scaled(keys string) string { return strings.Replace(with(keys), "llama", "granite", 1) }

// What changes nothing is no mistake, wherever it stands; families are found by their type, and silu has two names.
func TestConfigIgnoresWhatChangesNothing(t *testing.T) {
	plain, err := described(minimal)
	require.NoError(t, err)
	for _, keys := range []string{
		`"sliding_window":null,"use_sliding_window":false,"attn_logit_softcapping":null,"initializer_range":0.5,"use_cache":true`,
		`"layer_types":["full_attention","full_attention"],"num_experts":0,"residual_multiplier":1.0,"pretraining_tp":2`,
		`"is_causal":true,"is_encoder_decoder":false,"pruned_heads":{},"block_configs":[],"rope_scaling":{"alpha":0,"mrope_section":[4,4]}`,
		`"rope_parameters":{"rope_type":"default","max_position_embeddings":9,"finetuned":true}`,
		`"time_step_limit":[0.0,Infinity],"note":"a \"NaN\" in a text","lowest":-Infinity,"unset":NaN`,
		`"hidden_act":"swish"`, `"architectures":null`, `"architectures":[]`, `"architectures":["LlamaForCausalLM"]`,
		`"architectures":["LLaMAForCausalLM"]`, `"architectures":["LlamaModel"]`, `"architectures":["Qwen2ForCausalLM"]`,
	} {
		m, err := described(with(keys))
		require.NoError(t, err, keys)
		require.Equal(t, plain.Spec, m.Spec, keys)
	}
	want, err := described(qwen2(`"eos_token_id":null`))
	require.NoError(t, err)
	require.Equal(t, "Qwen2ForCausalLM", want.Spec.Family)
	usual := &spec.RoPE{Dim: 32, Theta: 10000}
	require.Equal(t, spec.Layer{Heads: 4, KVHeads: 4, HeadDim: 32, MLP: 320, QKVBias: true, RoPE: usual}, want.Spec.Layers[1])
	for _, keys := range []string{
		`"sliding_window":8,"use_sliding_window":false,"max_window_layers":0`,
		`"sliding_window":8,"use_sliding_window":true,"max_window_layers":2`,
		`"sliding_window":32768,"use_sliding_window":true,"max_window_layers":0`,
		`"sliding_window":null,"use_sliding_window":true,"max_window_layers":0`,
		`"attention_bias":false`,
	} {
		m, err := described(qwen2(keys))
		require.NoError(t, err, keys)
		require.Equal(t, want.Spec, m.Spec, keys)
	}
}

func TestConfigRefuses(t *testing.T) {
	const f, u = usererr.Format, usererr.Unsupported
	deep := strings.Repeat("[", 70) + strings.Repeat("]", 70)
	for _, c := range []struct {
		config  string
		kind    usererr.Kind
		message string
	}{
		{"{\n\"a\": 1,\n\"b\": }", f, "line 3: bad format: no valid JSON at /b: missing value after object name"},
		{"", f, "line 1: bad format: "},
		{"[]", f, "line 1: bad format: "},
		{"{}{}", f, "line 1: bad format: "},
		{"{\n\"a\": \"\xff\"}", f, "line 2: bad format: no valid JSON at /a: invalid UTF-8"},
		{with("\n\n" + `"vocab_size":385`), f, "line 3: bad format: no valid JSON at /vocab_size: duplicate object member name"},
		{with("\n" + `"x":` + deep), f, "line 2: bad format: nested deeper than 64"},
		{with("\n" + `"tie_word_embeddings":"yes"`), f, `line 2: bad format: tie_word_embeddings is "yes", true or false was wanted`},
		{with("\n" + `"head_dim":1.5`), f, "line 2: bad format: head_dim is 1.5, a whole number was wanted"},
		{with("\n" + `"eos_token_id":["a"]`), f, `line 2: bad format: eos_token_id is ["a"], numbers were wanted`},
		{with(`"rope_scaling":{"type":"linear","factor":"2"}`), f, `line 1: bad format: rope_scaling.factor is "2", a number was wanted`},
		{`{"model_type":"llama"}`, f, "bad format: hidden_size is missing, it must lie in 1 to 16777216"},
		{strings.Replace(minimal, "384", "-5", 1), f, "vocab_size is -5"},
		{strings.Replace(minimal, "320", "99999999", 1), f, "intermediate_size is 99999999, it must lie in 1 to 16777216"},
		{
			strings.Replace(minimal, `heads":4`, `heads":5`, 1), f,
			"hidden_size 128 is no multiple of num_attention_heads 5, and there is no head_dim",
		},
		{with(`"num_key_value_heads":3`), f, "num_attention_heads 4 is no multiple of num_key_value_heads 3"},
		{with(`"num_key_value_heads":0`), f, "num_key_value_heads is 0"},
		{with(`"head_dim":33`), f, "head_dim 33 is odd"},
		{strings.Replace(with(`"head_dim":65536`), `heads":4`, `heads":4096`, 1), f, "num_attention_heads 4096 times head_dim 65536 is above"},
		{with(`"rms_norm_eps":0`), f, "rms_norm_eps is 0"},
		{with(`"rope_theta":-1`), f, "rope_theta is -1"},
		{with(`"max_position_embeddings":0`), f, "max_position_embeddings is 0"},
		{with(`"bos_token_id":384`), f, "token id 384 lies outside the vocabulary of 384"},
		{with(`"eos_token_id":[1,-2]`), f, "token id -2 lies outside"},
		{with(`"rope_scaling":{"type":"linear","factor":0}`), f, "rope_scaling.factor is 0, it must be positive"},
		{with(`"rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":4,"high_freq_factor":1,` +
			`"original_max_position_embeddings":8192}`),
			f,
			"rope_scaling.high_freq_factor is 1 and low_freq_factor 4, it must be above"},
		{
			with(`"rope_scaling":{"rope_type":"ntk","factor":4}`), u,
			`unsupported: rope_scaling.rope_type is "ntk" (default, dynamic, linear, llama3, longrope and yarn are known)`,
		},
		{with(`"rope_parameters":{"full_attention":{"rope_theta":1}}`), u, "rope_parameters that differ by layer type (full_attention)"},
		{with(`"partial_rotary_factor":0.2`), u, "partial_rotary_factor is 0.2: of head_dim 32 a multiple of 4 has to rotate"},
		{with(`"rope_parameters":{"partial_rotary_factor":1.5}`), u, "partial_rotary_factor is 1.5"},
		{with("\n" + `"attn_logit_softcapping":50.0`), u,
			"line 2: unsupported: attn_logit_softcapping is 50, which LlamaForCausalLM does not read"},
		{with(`"sliding_window":4096`), u, "sliding_window is 4096, which LlamaForCausalLM does not read"},
		{with(`"layer_types":["full_attention","sliding_attention"]`), u, `layer_types is ["full_attention","sliding_attention"], which`},
		{with(`"num_experts":8`), u, "num_experts is 8, which LlamaForCausalLM does not read"},
		{with(`"hidden_act":"gelu"`), u, `hidden_act is "gelu" (silu, also called swish, is known)`},
		{with("\n" + `"architectures":["MambaForCausalLM"]`), u,
			`line 2: unsupported: architectures is ["MambaForCausalLM"] (known are Gemma2ForCausalLM`},
		{with("\n" + `"is_causal":false`), u,
			"line 2: unsupported: is_causal is false, which LlamaForCausalLM does not read (take a model without it"},
		{with(`"add_cross_attention":true`), u, "add_cross_attention is true, which"},
		{with(`"per_layer_config":[{}]`), u, "per_layer_config is [{}], which"},
		{with(`"pruned_heads":{"0":[1]}`), u, `pruned_heads is {"0":[1]}, which`},
		{with(`"kv_lora_rank":16`), u, "kv_lora_rank is 16, which"},
		{with("\n" + `"rope_scaling":{"type":"linear","factor":2,"alpha":3}`), u,
			"line 2: unsupported: rope_scaling.alpha is 3, which LlamaForCausalLM does not read"},
		{
			strings.Replace(with(`"rope_parameters":{"full_attention":{"rope_theta":1,"mscale":1,"hidden":true},"sliding_attention":{}}`),
				"llama", "gemma3_text", 1), u,
			"unsupported: rope_parameters.full_attention.hidden is true, which Gemma3ForCausalLM does not read",
		},
		{with(`"architectures":["LlamaForSequenceClassification"]`), u, `architectures is ["LlamaForSequenceClassification"], which has`},
		{strings.Replace(minimal, "llama", "mamba", 1), u, `model_type is "mamba" (known are gemma2`},
		{`{"hidden_size":128}`, u, "model_type is null (known are gemma2"},
		{qwen2(`"use_sliding_window":true,"sliding_window":-8`), f, "sliding_window is -8, it must lie in 1 to"},
		{qwen2(`"layer_types":["full_attention"]`), u, `layer_types is ["full_attention"] (it has to name the type of every layer)`},
		{qwen2(`"layer_types":["full_attention","linear_attention"]`), u,
			`layer_types is ["full_attention","linear_attention"] (full_attention and sliding_attention are known)`},
		{`["llama"]`, f, "line 1: bad format: the file is a list, an object was wanted"},
		{with(`"rope_scaling":{"type":"linear"}`), f, "rope_scaling.factor is missing, it must be positive"},
		{qwen2(`"final_logit_softcapping":30.0`), u, "final_logit_softcapping is 30, which Qwen2ForCausalLM does not read"},
		{scaled(`"logits_scaling":1e-300`), f, "a factor or a cap of the model is "},
		{scaled(`"embedding_multiplier":1e300`), f, "is 1e+300, it must be positive, and a float32"},
		{scaled(`"residual_multiplier":1e-300`), f, "is 1e-300, it must be positive, and a float32"},
		{scaled(`"attention_multiplier":1e300`), f, "the scores have the scale 1e+300 and the cap 0, these must be positive, and float32"},
		{
			with(`"quantization_config":{"quant_method":"gptq","bits":4}`), u,
			"the weights are quantized already, in a form that is not read: gptq (take the original model, its weights are quantized to",
		},
	} {
		_, err := described(c.config)
		require.Error(t, err, c.config)
		require.True(t, usererr.Is(err, c.kind), err)
		require.Contains(t, err.Error(), "open model m/config.json: ")
		require.Contains(t, err.Error(), c.message)
	}
}

// Layers of each type of Gemma 3 may rotate a part of their heads.
func TestAPartOfAHeadRotatesByTypeOfLayer(t *testing.T) {
	gemma3 := func(keys string) []spec.Layer {
		keys = `"head_dim":16,"layer_types":["sliding_attention","full_attention"],` + keys
		m, err := described(strings.Replace(with(keys), "llama", "gemma3_text", 1))
		require.NoError(t, err)
		return m.Spec.Layers
	}
	l := gemma3(`"rope_parameters":{"full_attention":{"partial_rotary_factor":0.5},"sliding_attention":{"rope_theta":7}}`)
	require.Equal(t, []int{16, 8}, []int{l[0].RoPE.Dim, l[1].RoPE.Dim})
	l = gemma3(`"partial_rotary_factor":0.25,"rope_parameters":{"full_attention":{},"sliding_attention":{"partial_rotary_factor":0.75}}`)
	require.Equal(t, []int{12, 4}, []int{l[0].RoPE.Dim, l[1].RoPE.Dim})
	l = gemma3(`"partial_rotary_factor":0.25`)
	require.Equal(t, []int{4, 4}, []int{l[0].RoPE.Dim, l[1].RoPE.Dim})
}

// The class drops some of its own activations in training, the program none: that is said.
func TestTheModelsOwnDropoutIsSaidToBeLeftOut(t *testing.T) {
	m, err := described(with(`"attention_dropout":0.0,"resid_pdrop":null`))
	require.NoError(t, err)
	require.Empty(t, m.Warnings)
	m, err = described(with(`"attention_dropout":0.1,"resid_pdrop":0.25,"embd_pdrop":0`))
	require.NoError(t, err)
	require.Equal(t, []string{
		"The model's own dropout is not applied in training (attention_dropout 0.1, resid_pdrop 0.25): lora_dropout alone is.",
	}, m.Warnings)
}

// Python writes numbers that JSON does not have. Where one is wanted that is finite, none of them is one.
func TestNumbersThatPythonWritesStandWhereNobodyReadsThem(t *testing.T) {
	for _, c := range []struct{ keys, message string }{
		{"\n\"rms_norm_eps\":NaN", `line 2: bad format: rms_norm_eps is "NaN", a number was wanted`},
		{"\"limit\":[0.0,Infinity],\n\"rope_theta\":-Infinity", `line 2: bad format: rope_theta is "-Infinity", a number was wanted`},
		{"\"x\":Infinitely", "bad format: no valid JSON at /x"},
		{"\"x\":1NaN", "bad format: no valid JSON"},
	} {
		_, err := described(with(c.keys))
		require.ErrorContains(t, err, c.message)
	}
}

func FuzzConfig(f *testing.F) {
	f.Add([]byte(with(`"rope_scaling":{"type":"linear","factor":2},"eos_token_id":[1,2],"head_dim":8`)))
	f.Add([]byte(with(`"rope_parameters":{"rope_type":"llama3","factor":2},"eos_token_id":3`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := described(string(b))
		if err != nil {
			require.IsType(t, &usererr.Error{}, err)
			return
		}
		for _, l := range m.Spec.Layers {
			require.Positive(t, l.HeadDim)
			require.Zero(t, l.Heads%l.KVHeads)
		}
	})
}
