package adapters

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

// laid lays what was read over a small model, and writes it in each format.
func laid(t *testing.T, files map[string][]byte, name string) {
	s := small(t, "LlamaForCausalLM")
	a, err := Open(store{files: files}, name)
	var read *lora.Files
	if err == nil {
		read, err = a.For(s)
	}
	var sum *Sum
	if err == nil {
		sum, err = Add(s, "", read)
	}
	if err != nil {
		require.IsType(t, &usererr.Error{}, err)
		return
	}
	f, err := sum.GGUF(gguf.F32)
	require.NoError(t, err)
	var out bytes.Buffer
	if err := f.Write(&out); err != nil { // of a value that scaling makes too large
		require.IsType(t, &usererr.Error{}, err)
		return
	}
	again, err := Open(store{files: map[string][]byte{"again": out.Bytes()}}, "again")
	require.NoError(t, err)
	_, err = again.For(s)
	require.NoError(t, err)
	_, err = sum.MLX()
	require.NoError(t, err)
}

// FuzzGGUF attacks a GGUF LoRA.
func FuzzGGUF(f *testing.F) {
	f.Add(ggufOf(f, about(), held{vA, 2, 24}, held{vB, 12, 2}))
	f.Add(ggufOf(f, about(gguf.Pair{Key: "adapter.lora.alpha", Value: float32(0)}), held{vA, 1, 24}, held{vB, 12, 1}))
	f.Fuzz(func(t *testing.T, data []byte) {
		laid(t, map[string][]byte{"a.gguf": data}, "a.gguf")
	})
}

// FuzzMLX attacks adapter_config.json and the header and data of adapters.safetensors of an MLX adapter.
func FuzzMLX(f *testing.F) {
	const q = "model.layers.2.self_attn.q_proj"
	whole := mlxOf(f, held{q + ".lora_a", 24, 2}, held{q + ".lora_b", 2, 24})
	length := binary.LittleEndian.Uint64(whole)
	header, data := string(whole[8:8+length]), whole[8+length:]
	f.Add([]byte(`{"fine_tune_type":"lora","num_layers":1,"lora_parameters":{"rank":2,"scale":20.0,"dropout":0.0}}`), header, data)
	f.Add([]byte(`{"lora_parameters":{"rank":2,"scale":1e-30,"dropout":0.5,"keys":["self_attn.q_proj"]},"model":"a"}`), header, data)
	f.Fuzz(func(t *testing.T, config []byte, header string, data []byte) {
		weights := append(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...), data...)
		laid(t, map[string][]byte{"mlx/" + lora.ConfigFile: config, "mlx/" + mlxWeights: weights}, "mlx")
	})
}
