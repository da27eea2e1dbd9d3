//go:build !js

package pretrained

import (
	"encoding/json/v2"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/model/architectures"
)

// llama.cpp's names of modules, and its keys of a config.json, for all families of dense decoders (gguf-py's
// constants).
var (
	writtenModules = map[string]string{
		"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
		"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm",
		"pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm",
		"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
		"self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm",
		"mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down",
	}
	writtenSizes = map[string]string{
		"hidden_size": "embedding_length", "intermediate_size": "feed_forward_length", "num_hidden_layers": "block_count",
		"num_attention_heads": "attention.head_count", "num_key_value_heads": "attention.head_count_kv",
		"max_position_embeddings": "context_length", "head_dim": "attention.key_length", "sliding_window": "attention.sliding_window",
	}
	writtenYaRN = map[string]string{
		"rope_type": "rope.scaling.type", "factor": "rope.scaling.factor", "mscale_all_dim": "rope.scaling.yarn_log_multiplier",
		"beta_fast": "rope.scaling.yarn_beta_fast", "beta_slow": "rope.scaling.yarn_beta_slow",
		"llama_4_scaling_beta": "attention.temperature_scale",
	}
	writtenIDs = map[string]string{"bos_token_id": "bos_token_id", "eos_token_id": "eos_token_id", "pad_token_id": "padding_token_id"}
)

// Every model of a parity case is the same when it comes from a GGUF file that llama.cpp's rules made of it.
func TestModelsFromGGUF(t *testing.T) {
	models, err := filepath.Glob("../parity/testdata/*/model")
	require.NoError(t, err)
	require.NotEmpty(t, models)
	for _, dir := range models {
		t.Run(filepath.Base(filepath.Dir(dir)), func(t *testing.T) {
			source, err := Open(dir)
			require.NoError(t, err)
			defer source.Close()
			if source.Spec.Family == architectures.Granite4.Names[0] {
				t.Skip("llama.cpp has such a model as a Granite, with gate and up apart")
			}
			got, err := openBytes(written(t, dir, source))
			require.NoError(t, err)
			want := source.Spec
			want.Quantized = nil                          // what is written is what NF4 decodes to
			want.NormEps = float64(float32(want.NormEps)) // GGUF holds 32 bits of it
			for i := range want.Layers {
				if strings.HasPrefix(want.Family, "Gemma") { // llama.cpp has one scale for an architecture
					want.Layers[i].ScoreScale = 1 / math.Sqrt(float64(want.Layers[i].HeadDim))
				}
				// GGUF has some scalings as tensors: what they compute is the same.
				if rope, other := want.Layers[i].RoPE, got.Spec.Layers[i].RoPE; rope != nil && rope.Scaling != "" {
					for _, long := range []bool{false, rope.HasLong(64)} {
						cos, sin := rope.Tables(64, long)
						gotCos, gotSin := other.Tables(64, long)
						require.InDeltaSlice(t, cos, gotCos, 1e-5)
						require.InDeltaSlice(t, sin, gotSin, 1e-5)
					}
					require.Equal(t, rope.ScalesQueries(64), other.ScalesQueries(64))
					if ones := slices.Repeat([]float32{1}, 64*rope.Dim/2); rope.ScalesQueries(64) {
						require.InDeltaSlice(t, rope.ForQueries(ones), other.ForQueries(ones), 1e-6)
					}
					want.Layers[i].RoPE = other
				}
			}
			require.Equal(t, want, got.Spec)
			require.Equal(t, source.Tokens, got.Tokens)
			for _, tensor := range source.Spec.Tensors() {
				x, y := make([]float32, tensor.Rows*tensor.Cols), make([]float32, tensor.Rows*tensor.Cols)
				require.NoError(t, source.ReadRows(tensor.Name, 0, tensor.Rows, x))
				require.NoError(t, got.Expect(tensor.Name, tensor.Rows, tensor.Cols))
				require.NoError(t, got.ReadRows(tensor.Name, 0, tensor.Rows, y))
				require.Equal(t, x, y, tensor.Name)
			}
		})
	}
}

// writtenArchitecture is llama.cpp's name of a model_type.
func writtenArchitecture(modelType string) string {
	if modelType == "ministral3" {
		return "mistral3"
	}
	return strings.TrimSuffix(modelType, "_text")
}

// written is a folder's model as a GGUF file.
func written(t *testing.T, dir string, source *Model) []byte {
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	require.NoError(t, err)
	var config map[string]any
	require.NoError(t, json.Unmarshal(text, &config))
	kind := writtenArchitecture(config["model_type"].(string))
	rope := config["rope_parameters"].(map[string]any)
	var local map[string]any
	if full, nested := rope["full_attention"].(map[string]any); nested {
		local, rope = rope["sliding_attention"].(map[string]any), full
	}
	pairs := []pair{
		{"general.architecture", kind}, {kind + ".rope.freq_base", rope["rope_theta"]},
		{kind + ".attention.layer_norm_rms_epsilon", config["rms_norm_eps"]},
	}
	if local != nil {
		pairs = append(pairs, pair{kind + ".rope.freq_base_swa", local["rope_theta"]}, pair{kind + ".attention.sliding_window_pattern", 3},
			pair{kind + ".rope.scaling.type", rope["rope_type"]}, pair{kind + ".rope.scaling.factor", rope["factor"]})
	}
	if rope["rope_type"] == "yarn" {
		for name, key := range writtenYaRN {
			pairs = append(pairs, pair{kind + "." + key, rope[name]})
		}
		pairs = append(pairs, pair{kind + ".rope.scaling.original_context_length", int(rope["original_max_position_embeddings"].(float64))})
	}
	for _, key := range []string{"attn_logit_softcapping", "final_logit_softcapping"} {
		if x, ok := config[key].(float64); ok {
			pairs = append(pairs, pair{kind + "." + key, x})
		}
	}
	for name, key := range writtenSizes {
		if n, ok := config[name].(float64); ok {
			pairs = append(pairs, pair{kind + "." + key, int(n)})
		}
	}
	for name, key := range writtenIDs {
		if n, ok := config[name].(float64); ok {
			pairs = append(pairs, pair{"tokenizer.ggml." + key, int(n)})
		}
	}
	var tensors []matrix
	if rope["rope_type"] == "llama3" {
		factors := llama3Factors(rope, int(config["head_dim"].(float64)))
		tensors = append(tensors, matrix{"rope_freqs.weight", []uint64{uint64(len(factors))}, factors})
	}
	name := regexp.MustCompile(`^(?:model\.layers\.(\d+)\.)?(.+)\.(weight|bias)$`)
	for _, tensor := range source.Tensors() {
		part := name.FindStringSubmatch(tensor.Name)
		require.NotNil(t, part, tensor.Name)
		stored := writtenModules[part[2]] + "." + part[3]
		if part[2] == "post_attention_layernorm" && strings.HasPrefix(kind, "gemma") {
			stored = "post_attention_norm.weight"
		}
		if part[1] != "" {
			stored = "blk." + part[1] + "." + stored
		}
		x := make([]float32, tensor.Rows*tensor.Cols)
		require.NoError(t, source.ReadRows(tensor.Name, 0, tensor.Rows, x))
		if (kind == "llama" || kind == "mistral3") && (part[2] == "self_attn.q_proj" || part[2] == "self_attn.k_proj") {
			cols := tensor.Cols
			if part[3] == "bias" {
				cols = 1
			}
			x = interleaved(x, cols, int(config["head_dim"].(float64)))
		}
		ne := []uint64{uint64(tensor.Cols), uint64(tensor.Rows)}
		if tensor.Rows == 1 {
			ne = ne[:1]
		}
		tensors = append(tensors, matrix{stored, ne, x})
	}
	return ggufFile(t, pairs, tensors)
}

// llama3Factors are what convert_hf_to_gguf.py writes as rope_freqs.
func llama3Factors(rope map[string]any, headDim int) (factors []float32) {
	number := func(key string) float64 { return rope[key].(float64) }
	low, high, context := number("low_freq_factor"), number("high_freq_factor"), number("original_max_position_embeddings")
	for i := range headDim / 2 {
		wavelength := 2 * math.Pi * math.Pow(number("rope_theta"), 2*float64(i)/float64(headDim))
		factor := 1.0
		if wavelength > context/low {
			factor = number("factor")
		} else if wavelength >= context/high {
			smooth := (context/wavelength - low) / (high - low)
			factor = 1 / ((1-smooth)/number("factor") + smooth)
		}
		factors = append(factors, float32(factor))
	}
	return factors
}

// interleaved puts the two halves of each head's rows in turns, as convert_hf_to_gguf.py does for llama.
func interleaved(x []float32, cols, headDim int) []float32 {
	y := make([]float32, 0, len(x))
	for head := 0; head < len(x)/cols; head += headDim {
		for i := range headDim / 2 {
			for _, row := range []int{head + i, head + i + headDim/2} {
				y = append(y, x[row*cols:(row+1)*cols]...)
			}
		}
	}
	return y
}

// The context that Phi 3's factors were found beyond is the file's, and not the family's usual one.
func TestLongRoPEsContextFromGGUF(t *testing.T) {
	got, err := openBytes(ggufFile(t, []pair{
		{"general.architecture", "phi3"}, {"phi3.embedding_length", 16}, {"phi3.feed_forward_length", 32}, {"phi3.block_count", 1},
		{"phi3.attention.head_count", 2}, {"phi3.attention.head_count_kv", 2}, {"phi3.context_length", 128},
		{"phi3.attention.layer_norm_rms_epsilon", 1e-5}, {"phi3.rope.dimension_count", 8}, {"phi3.rope.freq_base", 1e4},
		{"phi3.rope.scaling.original_context_length", 24}, {"phi3.rope.scaling.attn_factor", 1.25},
	}, []matrix{
		{"rope_factors_long.weight", []uint64{4}, []float32{2, 3, 4, 5}}, {"rope_factors_short.weight", []uint64{4}, []float32{1, 1, 1, 2}},
		{"token_embd.weight", []uint64{16, 9}, make([]float32, 16*9)},
	}))
	require.NoError(t, err)
	rope := got.Spec.Layers[0].RoPE
	require.Equal(t, 24, rope.OriginalMaxPositions)
	require.True(t, rope.HasLong(25))
	require.InDelta(t, 1.25, rope.AttentionFactor, 1e-9)
}
