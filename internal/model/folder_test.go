//go:build !js

package model_test

import (
	"encoding/json"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/reference"
	"qlora-wgpu/internal/safetensors"
)

// small has widths that are no multiples of an NF4 block, heads that do not add up to the width, and a vocabulary
// that is padded.
var small = reference.Spec{
	Hidden: 40, Vocab: 61, NormEps: 1e-3, RoPE: reference.RoPE{Theta: 100, RoPEScaling: reference.RoPEScaling{Type: "default"}},
	Layers: []reference.Layer{{Heads: 4, KVHeads: 2, HeadDim: 12, MLP: 56}, {Heads: 4, KVHeads: 2, HeadDim: 12, MLP: 56}},
}

// values are normal numbers from a seed of the name.
func values(name string, n int, mean, deviation float64) []float32 {
	h := fnv.New64a()
	h.Write([]byte(name))
	rng := rand.New(rand.NewPCG(h.Sum64(), 0))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(mean + deviation*rng.NormFloat64())
	}
	return x
}

// folder writes a random model of this description as a Hugging Face folder, of the family that has it.
func folder(t *testing.T, s reference.Spec) string {
	t.Helper()
	dir := t.TempDir()
	config, err := json.Marshal(configOf(s))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "config.json"), config, 0o666))
	var tensors []safetensors.Data
	reference.NewDecoder(s, func(name string, rows, cols int) []float64 {
		mean, deviation := 0.0, 1.0
		switch {
		case strings.HasSuffix(name, "norm.weight"):
			mean, deviation = 1, 0.3
		case strings.HasSuffix(name, "_proj.weight"):
			deviation = 1.5 / math.Sqrt(float64(cols)) // attention is not flat
		}
		x := values(name, rows*cols, mean, deviation)
		data := safetensors.Data{Name: name, DType: safetensors.F32, Shape: []int{rows, cols}, Bytes: safetensors.Float32Bytes(x)}
		if rows == 1 {
			data.Shape = []int{cols}
		}
		tensors = append(tensors, data)
		return make([]float64, rows*cols)
	})
	f, err := os.Create(filepath.Join(dir, "model.safetensors"))
	require.NoError(t, err)
	require.NoError(t, safetensors.Write(f, nil, tensors))
	require.NoError(t, f.Close())
	return dir
}

// configOf is a config.json; a family's own rules stand in it by the family's name alone.
func configOf(s reference.Spec) map[string]any {
	l := s.Layers[0]
	rope := map[string]any{"rope_theta": s.RoPE.Theta, "rope_type": s.RoPE.Type}
	switch r := s.RoPE.RoPEScaling; r.Type {
	case "linear":
		rope["factor"] = r.Factor
	case "llama3":
		rope["factor"], rope["low_freq_factor"], rope["high_freq_factor"] = r.Factor, r.LowFreqFactor, r.HighFreqFactor
		rope["original_max_position_embeddings"] = r.OriginalMaxPositionEmbeddings
	}
	c := map[string]any{
		"hidden_size": s.Hidden, "intermediate_size": l.MLP, "num_hidden_layers": len(s.Layers), "num_attention_heads": l.Heads,
		"num_key_value_heads": l.KVHeads, "head_dim": l.HeadDim, "vocab_size": s.Vocab, "rms_norm_eps": s.NormEps, "hidden_act": "silu",
		"tie_word_embeddings": s.TiedHead, "max_position_embeddings": 256, "rope_parameters": rope,
	}
	switch {
	case l.QKNorm == reference.PerHead:
		c["architectures"], c["model_type"], c["attention_bias"] = []string{"Qwen3ForCausalLM"}, "qwen3", l.Bias.Q
	case l.Bias.Q && !l.Bias.O:
		c["architectures"], c["model_type"] = []string{"Qwen2ForCausalLM"}, "qwen2"
	default:
		c["architectures"], c["model_type"] = []string{"LlamaForCausalLM"}, "llama"
		c["attention_bias"], c["mlp_bias"] = l.Bias.Q, l.Bias.Gate
	}
	return c
}
