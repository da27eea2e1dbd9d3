package pretrained

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/usererr"
)

const minimal = `{"hidden_size":128,"intermediate_size":320,"num_hidden_layers":2,"num_attention_heads":4,"vocab_size":384}`

// with adds keys to the minimal configuration.
func with(keys string) string { return strings.TrimSuffix(minimal, "}") + "," + keys + "}" }

func TestParseConfigDefaults(t *testing.T) {
	c, err := parseConfig([]byte(minimal), "config.json")
	require.NoError(t, err)
	require.Equal(t, Config{
		HiddenSize: 128, IntermediateSize: 320, NumHiddenLayers: 2, NumAttentionHeads: 4, NumKeyValueHeads: 4, HeadDim: 32, VocabSize: 384,
		MaxPositionEmbeddings: 2048, RMSNormEps: 1e-6, RopeTheta: 10000, HiddenAct: "silu", BosTokenID: -1, PadTokenID: -1,
	}, c)
}

// TestParseConfigStyles: Llama 3.2 as transformers 4 writes it, and the same in transformers 5's words.
func TestParseConfigStyles(t *testing.T) {
	common := `{"architectures":["LlamaForCausalLM"],"attention_bias":false,"bos_token_id":128000,"eos_token_id":[128001,128008,128009],
		"head_dim":64,"hidden_act":"silu","hidden_size":2048,"initializer_range":0.02,"intermediate_size":8192,"max_position_embeddings":131072,
		"mlp_bias":false,"model_type":"llama","num_attention_heads":32,"num_hidden_layers":16,"num_key_value_heads":8,"pad_token_id":null,
		"rms_norm_eps":1e-05,"tie_word_embeddings":true,"torch_dtype":"bfloat16","vocab_size":128256,`
	scaling := `"factor":32.0,"high_freq_factor":4.0,"low_freq_factor":1.0,"original_max_position_embeddings":8192,"rope_type":"llama3"`
	want := Config{
		Architectures: []string{"LlamaForCausalLM"}, ModelType: "llama", HiddenSize: 2048, IntermediateSize: 8192, NumHiddenLayers: 16,
		NumAttentionHeads: 32, NumKeyValueHeads: 8, HeadDim: 64, VocabSize: 128256, MaxPositionEmbeddings: 131072, RMSNormEps: 1e-5,
		RopeTheta: 500000, RopeScaling: &RopeScaling{"llama3", 32, 1, 4, 8192}, TieWordEmbeddings: true, HiddenAct: "silu",
		BosTokenID: 128000, EosTokenIDs: []int{128001, 128008, 128009}, PadTokenID: -1,
	}
	for _, rope := range []string{
		`"rope_theta":500000.0,"rope_scaling":{` + scaling + `}}`,
		`"rope_parameters":{"rope_theta":500000.0,` + scaling + `}}`,
	} {
		c, err := parseConfig([]byte(common+rope), "config.json")
		require.NoError(t, err)
		require.Equal(t, want, c)
	}

	c, err := parseConfig([]byte(with(`"rope_scaling":{"type":"linear","factor":2.5},"eos_token_id":2,"attention_bias":true,"mlp_bias":true,"num_key_value_heads":2`)), "c")
	require.NoError(t, err)
	require.Equal(t, &RopeScaling{Type: "linear", Factor: 2.5}, c.RopeScaling)
	require.Equal(t, []int{2}, c.EosTokenIDs)
	require.True(t, c.AttentionBias && c.MLPBias)
	require.Equal(t, 2, c.NumKeyValueHeads)
	for _, none := range []string{`"rope_scaling":null`, `"rope_scaling":{"rope_type":"default"}`, `"rope_parameters":{"rope_theta":7}`} {
		c, err := parseConfig([]byte(with(none)), "c")
		require.NoError(t, err)
		require.Nil(t, c.RopeScaling)
	}
}

func TestParseConfigRefuses(t *testing.T) {
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
		{with("\n" + `"tie_word_embeddings":"yes"`), f, "line 2: bad format: /tie_word_embeddings is a string, bool was wanted"},
		{with("\n" + `"head_dim":1.5`), f, "line 2: bad format: /head_dim"},
		{with("\n" + `"eos_token_id":["a"]`), f, "line 2: bad format: /eos_token_id"},
		{with(`"rope_scaling":{"factor":"2"}`), f, "rope_scaling or rope_parameters: "},
		{`{}`, f, "bad format: hidden_size is 0, it must lie in 1 to 16777216"},
		{strings.Replace(minimal, "384", "-5", 1), f, "vocab_size is -5"},
		{strings.Replace(minimal, "320", "99999999", 1), f, "intermediate_size is 99999999, it must lie in 1 to 16777216"},
		{strings.Replace(minimal, `heads":4`, `heads":5`, 1), f, "hidden_size 128 is no multiple of num_attention_heads 5, and there is no head_dim"},
		{with(`"num_key_value_heads":3`), f, "num_attention_heads 4 is no multiple of num_key_value_heads 3"},
		{with(`"num_key_value_heads":0`), f, "num_key_value_heads is 0"},
		{with(`"head_dim":33`), f, "head_dim 33 is odd"},
		{strings.Replace(with(`"head_dim":65536`), `heads":4`, `heads":4096`, 1), f, "num_attention_heads 4096 times head_dim 65536 is above"},
		{with(`"rms_norm_eps":0`), f, "rms_norm_eps is 0"},
		{with(`"rope_theta":-1`), f, "rope_theta is -1"},
		{with(`"max_position_embeddings":0`), f, "max_position_embeddings is 0"},
		{with(`"bos_token_id":384`), f, "token id 384 lies outside the vocabulary of 384"},
		{with(`"eos_token_id":[1,-2]`), f, "token id -2 lies outside"},
		{with(`"rope_scaling":{"type":"linear","factor":0}`), f, "rope scaling has factor 0"},
		{with(`"rope_scaling":{"rope_type":"llama3","factor":8,"low_freq_factor":4,"high_freq_factor":1,"original_max_position_embeddings":8192}`), f,
			"rope scaling llama3 has low_freq_factor 4, high_freq_factor 1"},
		{with(`"rope_scaling":{"rope_type":"yarn","factor":4}`), u, `unsupported: rope scaling of type "yarn" (default, linear and llama3 are known)`},
		{with(`"rope_parameters":{"full_attention":{"rope_theta":1}}`), u, "rope parameters that differ by layer type (full_attention)"},
		{with(`"partial_rotary_factor":0.5`), u, "partial_rotary_factor 0.5"},
		{with(`"rope_parameters":{"partial_rotary_factor":0.25}`), u, "partial_rotary_factor 0.25"},
		{with(`"quantization_config":{"quant_method":"gptq","bits":4}`), u, `the weights are quantized already (quantization_config, method "gptq")`},
	} {
		_, err := parseConfig([]byte(c.config), "m/config.json")
		require.Error(t, err, c.config)
		require.True(t, usererr.Is(err, c.kind), err)
		require.Contains(t, err.Error(), "open model m/config.json: ")
		require.Contains(t, err.Error(), c.message)
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add([]byte(with(`"rope_scaling":{"type":"linear","factor":2},"eos_token_id":[1,2],"head_dim":8`)))
	f.Add([]byte(with(`"rope_parameters":{"rope_type":"llama3","factor":2},"eos_token_id":3`)))
	f.Fuzz(func(t *testing.T, b []byte) {
		c, err := parseConfig(b, "fuzz")
		if err != nil {
			require.IsType(t, &usererr.Error{}, err)
			return
		}
		require.Positive(t, c.HeadDim)
		require.Zero(t, c.NumAttentionHeads%c.NumKeyValueHeads)
	})
}
