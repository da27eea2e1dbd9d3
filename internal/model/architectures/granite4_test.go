package architectures

import (
	"encoding/json/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/usererr"
)

// granite4Config is what a dense model's config.json has, of sizes of its own.
const granite4Config = `{"architectures":["GraniteMoeHybridForCausalLM"],"model_type":"granitemoehybrid","hidden_size":64,` +
	`"intermediate_size":999,"shared_intermediate_size":96,"num_hidden_layers":2,"num_attention_heads":4,"num_key_value_heads":2,` +
	`"vocab_size":99,"layer_types":["attention","attention"],"num_local_experts":0,"num_experts_per_tok":0,"embedding_multiplier":12,` +
	`"residual_multiplier":0.22,"attention_multiplier":0.015625,"logits_scaling":10,"rope_theta":10000000,` +
	`"position_embedding_type":"rope","mamba_d_state":256,"normalization_function":"rmsnorm"}`

func granite4(t *testing.T, old, replacement string) (spec.Spec, error) {
	t.Helper()
	require.Contains(t, granite4Config, old)
	k := &spec.Keys{Path: "config.json"}
	require.NoError(t, json.Unmarshal([]byte(strings.Replace(granite4Config, old, replacement, 1)), &k.Values))
	f, err := Find(k)
	require.NoError(t, err)
	require.Equal(t, "granitemoehybrid", f.ModelType)
	return f.Read(k)
}

func TestGranite4sDenseModelsHaveTheSharedMLPAndGranitesFactors(t *testing.T) {
	s, err := granite4(t, "", "")
	require.NoError(t, err)
	require.Equal(t, 12.0, s.EmbeddingScale)
	require.Equal(t, 0.22, s.ResidualScale)
	require.Equal(t, 0.1, s.LogitScale)
	var names []string
	for _, tensor := range s.LayerTensors(1) {
		names = append(names, strings.TrimPrefix(tensor.Name, "model.layers.1."))
		switch tensor.Module {
		case spec.GateUpProj:
			require.Equal(t, [2]int{192, 64}, [2]int{tensor.Rows, tensor.Cols})
		case spec.DownProj:
			require.Equal(t, [2]int{64, 96}, [2]int{tensor.Rows, tensor.Cols})
		}
	}
	require.Equal(t, []string{
		"self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight", "self_attn.o_proj.weight",
		"shared_mlp.input_linear.weight", "shared_mlp.output_linear.weight", "input_layernorm.weight", "post_attention_layernorm.weight",
	}, names)
	require.Equal(t, 1e7, s.Layers[1].RoPE.Theta)
	for _, still := range []string{`null`, `"nope"`} {
		s, err = granite4(t, `"position_embedding_type":"rope"`, `"position_embedding_type":`+still)
		require.NoError(t, err)
		require.Nil(t, s.Layers[0].RoPE, still)
	}
}

func TestGranite4sHybridsAndMixturesAreRefusedByName(t *testing.T) {
	for _, c := range []struct{ old, replacement, message string }{
		{`["attention","attention"]`, `["attention","mamba"]`, `layer_types is ["attention","mamba"], which has layers that are not attention`},
		{`["attention","attention"]`, `["linear_attention","full_attention"]`, "which has layers that are not attention"},
		{`["attention","attention"]`, `null`, "layer_types is null, which has layers that are not attention"},
		{`["attention","attention"]`, `["attention"]`, "it has to name the type of every layer"},
		{`"num_local_experts":0`, `"num_local_experts":64`, "num_local_experts is 64, which makes it a mixture of experts"},
		{`"num_local_experts":0,`, ``, "num_local_experts is 8, which makes it a mixture of experts"},
		{`"position_embedding_type":"rope"`, `"position_embedding_type":"alibi"`, `position_embedding_type is "alibi"`},
		{`"shared_intermediate_size":96`, `"shared_intermediate_size":-1`, "shared_intermediate_size is -1"},
	} {
		_, err := granite4(t, c.old, c.replacement)
		require.ErrorContains(t, err, c.message)
		require.True(t, usererr.Is(err, usererr.Unsupported) || usererr.Is(err, usererr.Format), "%v", err)
	}
}
