package pretrained

import (
	"maps"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/model/architectures"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/usererr"
)

// ministral3 is the minimal configuration of that family with some keys.
func ministral3(keys string) string {
	return strings.Replace(with(`"num_key_value_heads":2,`+keys), `"llama"`, `"ministral3"`, 1)
}

func TestMinistral3sQueriesAreScaledByTheClassOrTheConfiguration(t *testing.T) {
	scaled := func(theta, factor float64, original int, b float64) spec.RoPE {
		return spec.RoPE{
			Theta: theta, Scaling: "yarn", Factor: factor, BetaFast: 32, BetaSlow: 1, OriginalMaxPositions: original, AttentionFactor: 1,
			QueryScaling: b,
		}
	}
	const yarn = `"rope_type":"yarn","factor":4.0,"original_max_position_embeddings":64,"mscale":1.0,"mscale_all_dim":1.0,"rope_theta":7.0`
	for keys, want := range map[string]spec.RoPE{
		`"head_dim":32`: scaled(1e6, 16, 16384, 0.1),
		`"head_dim":32,"rope_parameters":{"llama_4_scaling_beta":0.25,` + yarn + `}`:            scaled(7, 4, 64, 0.25),
		`"head_dim":32,"rope_theta":7.0,"rope_scaling":{"llama_4_scaling_beta":0,` + yarn + `}`: scaled(7, 4, 64, 0),
		`"head_dim":32,"rope_parameters":{"llama_4_scaling_beta":0.5,"original_max_position_embeddings":9}`: {
			Theta: 10000, OriginalMaxPositions: 9, QueryScaling: 0.5,
		},
	} {
		m, err := described(ministral3(keys))
		require.NoError(t, err, keys)
		want.Dim = 32
		require.Equal(t, want, *m.Spec.Layers[0].RoPE, keys)
		require.Equal(t, want.QueryScaling != 0, m.Spec.Layers[0].RoPE.ScalesQueries(want.OriginalMaxPositions+1))
		require.False(t, m.Spec.Layers[0].RoPE.ScalesQueries(want.OriginalMaxPositions))
	}
	const half = `"rope_scaling":{"llama_4_scaling_beta":0.1,"factor":2.0,"type":"yarn"},"partial_rotary_factor":0.5,"head_dim":32`
	for _, c := range [][2]string{
		{`"rope_parameters":{` + yarn + `}`, "rope_parameters.llama_4_scaling_beta is missing, a number was wanted"},
		{`"rope_parameters":{"llama_4_scaling_beta":"x",` + yarn + `}`, `rope_parameters.llama_4_scaling_beta is "x", a number was wanted`},
		{`"rope_parameters":{"llama_4_scaling_beta":0.1}`, "rope_parameters.original_max_position_embeddings is missing"},
		{half, "of head_dim 32 the first 16 dimensions rotate, with llama_4_scaling_beta all have to"},
	} {
		_, err := described(ministral3(c[0]))
		require.ErrorContains(t, err, c[1])
		require.IsType(t, &usererr.Error{}, err)
	}
}

// llama.cpp's mistral3 is Ministral 3, or Mistral Small 3.1, whose files say nothing of a scale or of YaRN.
func TestMistralsOfOneGGUFArchitecture(t *testing.T) {
	family := architectures.Ministral3
	read := func(more map[string]any) (spec.RoPE, error) {
		k := &spec.Keys{Path: "m.gguf", Values: map[string]any{
			"hidden_size": 128.0, "intermediate_size": 320.0, "num_hidden_layers": 2.0, "num_attention_heads": 4.0, "head_dim": 32.0,
			"num_key_value_heads": 2.0, "max_position_embeddings": 512.0, "vocab_size": 384.0, "rms_norm_eps": 1e-5, "rope_theta": 1e9,
		}}
		maps.Copy(k.Values, more)
		family.Implied(k)
		s, err := family.Read(k)
		if err != nil {
			return spec.RoPE{}, err
		}
		return *s.Layers[0].RoPE, nil
	}
	yarn := func() map[string]any {
		return map[string]any{
			"rope_type": "yarn", "factor": 16.0, "original_max_position_embeddings": 32.0, "beta_fast": 32.0, "beta_slow": 1.0, "mscale": 1.0,
			"mscale_all_dim": 1.0,
		}
	}
	plain, err := read(nil)
	require.NoError(t, err)
	require.Equal(t, spec.RoPE{Dim: 32, Theta: 1e9}, plain)
	stretched, err := read(map[string]any{"rope_scaling": yarn()})
	require.NoError(t, err)
	require.Zero(t, stretched.QueryScaling)
	require.Equal(t, 1.0, stretched.AttentionFactor)
	scaled, err := read(map[string]any{"rope_scaling": yarn(), "attention_temperature_scale": 0.1})
	require.NoError(t, err)
	stretched.QueryScaling = 0.1
	require.Equal(t, stretched, scaled)
	_, err = read(map[string]any{"attention_temperature_scale": 0.1})
	require.ErrorContains(t, err, "original_max_position_embeddings is missing")
}
