//go:build !js

package model_test

import (
	"encoding/json"
	"hash/fnv"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
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
	gemma := strings.HasPrefix(configOf(s)["model_type"].(string), "gemma")
	reference.NewDecoder(s, func(name string, rows, cols int) []float64 {
		mean, deviation := 0.0, 1.0
		switch {
		case strings.HasSuffix(name, "norm.weight"):
			mean, deviation = 1, 0.3
			if gemma {
				mean = 0
			}
		case strings.HasSuffix(name, "_proj.weight"), strings.HasSuffix(name, "_linear.weight"):
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

// ropeOf is a rotary embedding as rope_parameters has it.
func ropeOf(r reference.RoPE, headDim int) map[string]any {
	rope := map[string]any{"rope_theta": r.Theta, "rope_type": r.Type}
	if r.Dim != 0 {
		rope["partial_rotary_factor"] = float64(r.Dim) / float64(headDim)
	}
	switch r.Type {
	case "linear":
		rope["factor"] = r.Factor
	case "llama3":
		rope["factor"], rope["low_freq_factor"], rope["high_freq_factor"] = r.Factor, r.LowFreqFactor, r.HighFreqFactor
		rope["original_max_position_embeddings"] = r.OriginalMaxPositionEmbeddings
	case "longrope":
		rope["short_factor"], rope["long_factor"], rope["attention_factor"] = r.ShortFactor, r.LongFactor, r.AttentionFactor
		rope["original_max_position_embeddings"] = r.OriginalMaxPositionEmbeddings
	case "yarn":
		rope["factor"], rope["beta_fast"], rope["beta_slow"], rope["attention_factor"] = r.Factor, r.BetaFast, r.BetaSlow, r.AttentionFactor
		rope["original_max_position_embeddings"], rope["llama_4_scaling_beta"] = r.OriginalMaxPositionEmbeddings, r.QueryScaling
	}
	return rope
}

// configOf is a config.json; a family's own rules stand in it by the family's name alone.
func configOf(s reference.Spec) map[string]any {
	l := s.Layers[0]
	c := map[string]any{
		"hidden_size": s.Hidden, "intermediate_size": l.MLP, "num_hidden_layers": len(s.Layers), "num_attention_heads": l.Heads,
		"num_key_value_heads": l.KVHeads, "head_dim": l.HeadDim, "vocab_size": s.Vocab, "rms_norm_eps": s.NormEps, "hidden_act": "silu",
		"tie_word_embeddings": s.TiedHead, "max_position_embeddings": 256, "rope_parameters": ropeOf(s.RoPE, l.HeadDim),
	}
	family := func(name, kind string) { c["architectures"], c["model_type"] = []string{name + "ForCausalLM"}, kind }
	var windows []string
	for _, l := range s.Layers {
		windows = append(windows, "full_attention")
		if l.Window > 0 {
			windows[len(windows)-1], c["sliding_window"] = "sliding_attention", l.Window
		}
	}
	switch {
	case l.Norms == reference.NormsAround:
		delete(c, "hidden_act")
		c["hidden_activation"], c["query_pre_attn_scalar"], c["layer_types"] = "gelu_pytorch_tanh", 1/(l.Scale*l.Scale), windows
		c["attn_logit_softcapping"], c["final_logit_softcapping"] = l.SoftCap, s.LogitSoftCap
		family("Gemma2", "gemma2")
		if l.RoPE != nil {
			family("Gemma3", "gemma3_text")
			c["rope_parameters"] = map[string]any{
				"sliding_attention": ropeOf(*l.RoPE, l.HeadDim), "full_attention": ropeOf(*s.Layers[1].RoPE, l.HeadDim),
			}
		}
	case l.Norms == reference.NormsBehind:
		family("Olmo2", "olmo2")
	case l.FusedQKV:
		family("Phi3", "phi3")
		c["original_max_position_embeddings"] = s.RoPE.OriginalMaxPositionEmbeddings
	case s.Layers[1].NoRoPE && !l.NoRoPE:
		family("SmolLM3", "smollm3")
		c["no_rope_layers"], c["layer_types"], c["use_sliding_window"] = []int{1, 0}, windows, c["sliding_window"] != nil
	case s.RoPE.QueryScaling != 0:
		family("Ministral3", "ministral3")
	case s.EmbeddingScale != 0:
		family("Granite", "granite")
		if l.FusedMLP {
			family("GraniteMoeHybrid", "granitemoehybrid")
			c["layer_types"], c["num_local_experts"] = slices.Repeat([]string{"attention"}, len(s.Layers)), 0
			c["shared_intermediate_size"], c["intermediate_size"] = l.MLP, 7*l.MLP
			if !l.NoRoPE {
				c["position_embedding_type"] = "rope"
			}
		}
		c["embedding_multiplier"], c["residual_multiplier"], c["attention_multiplier"] = s.EmbeddingScale, s.ResidualScale, l.Scale
		c["logits_scaling"] = 1 / s.LogitScale
	case l.QKNorm == reference.PerHead:
		family("Qwen3", "qwen3")
		c["attention_bias"], c["layer_types"], c["use_sliding_window"] = l.Bias.Q, windows, c["sliding_window"] != nil
	case l.Bias.Q && !l.Bias.O:
		family("Qwen2", "qwen2")
		c["layer_types"], c["use_sliding_window"] = windows, c["sliding_window"] != nil
	case l.Window > 0:
		family("Mistral", "mistral")
	default:
		family("Llama", "llama")
		c["attention_bias"], c["mlp_bias"] = l.Bias.Q, l.Bias.Gate
	}
	return c
}
