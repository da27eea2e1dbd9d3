package export_test

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/tokenizer"
)

// tokensOf counts the ids of a tokenizer.json.
func tokensOf(t *testing.T, data []byte) int {
	var j struct {
		Model struct {
			Vocab json.RawMessage `json:"vocab"`
		} `json:"model"`
		Added []struct {
			ID int `json:"id"`
		} `json:"added_tokens"`
	}
	require.NoError(t, json.Unmarshal(data, &j))
	last := 0
	var ids map[string]int
	var scored []any
	if json.Unmarshal(j.Model.Vocab, &ids) == nil {
		for _, id := range ids {
			last = max(last, id)
		}
	} else {
		require.NoError(t, json.Unmarshal(j.Model.Vocab, &scored))
		last = len(scored) - 1
	}
	for _, added := range j.Added {
		last = max(last, added.ID)
	}
	return last + 1
}

// piecesOf counts those of a tokenizer.model.
func piecesOf(t *testing.T, data []byte) int {
	v, err := tokenizer.SentencePiece(data, "tokenizer.model")
	require.NoError(t, err)
	return len(v.Tokens)
}

// around is a model folder around a tokenizer's file, which gets this name there.
func around(t *testing.T, file, name string, count func(*testing.T, []byte) int) string {
	data, err := os.ReadFile(file)
	require.NoError(t, err)
	tokens := count(t, data)
	dir := t.TempDir()
	write := func(name string, content []byte) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), content, 0o666))
	}
	write(name, data)
	const hidden, mlp = 32, 64
	config, err := json.Marshal(map[string]any{
		"architectures": []string{"LlamaForCausalLM"}, "model_type": "llama", "hidden_size": hidden, "intermediate_size": mlp,
		"num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "vocab_size": tokens, "rms_norm_eps": 1e-5,
		"max_position_embeddings": 64, "tie_word_embeddings": true, "torch_dtype": "float32",
	})
	require.NoError(t, err)
	write("config.json", config)
	var tensors []safetensors.Data
	add := func(name string, shape ...int) {
		n := shape[0]
		if len(shape) > 1 {
			n *= shape[1]
		}
		var data []byte
		for i := range n {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(float32(i%7)-3))
		}
		tensors = append(tensors, safetensors.Data{Name: name, DType: safetensors.F32, Shape: shape, Bytes: data})
	}
	add("model.embed_tokens.weight", tokens, hidden)
	for _, name := range []string{"q_proj", "k_proj", "v_proj", "o_proj"} {
		add("model.layers.0.self_attn."+name+".weight", hidden, hidden)
	}
	add("model.layers.0.mlp.gate_proj.weight", mlp, hidden)
	add("model.layers.0.mlp.up_proj.weight", mlp, hidden)
	add("model.layers.0.mlp.down_proj.weight", hidden, mlp)
	for _, name := range []string{"model.layers.0.input_layernorm", "model.layers.0.post_attention_layernorm", "model.norm"} {
		add(name+".weight", hidden)
	}
	weights, err := os.Create(filepath.Join(dir, "model.safetensors"))
	require.NoError(t, err)
	require.NoError(t, safetensors.Write(weights, nil, tensors))
	require.NoError(t, weights.Close())
	return dir
}
