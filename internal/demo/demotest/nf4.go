//go:build !js

package demotest

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/doublequant"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/nf4"
)

// Quantize makes the folder's linears bitsandbytes' NF4, as save_pretrained of transformers writes them: in blocks of
// so many weights, with double quantization or without, all but those of skipped modules.
func Quantize(t testing.TB, dir string, block int, double bool, skipped ...string) {
	t.Helper()
	name := filepath.Join(dir, "model.safetensors")
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	file, err := safetensors.Read(bytes.NewReader(data), int64(len(data)), name)
	require.NoError(t, err)
	var tensors []safetensors.Data
	for _, tensor := range file.Tensors() {
		module := strings.TrimSuffix(tensor.Name, ".weight")
		if strings.HasSuffix(module, "_proj") && !slices.Contains(skipped, module) {
			values := make([]float32, tensor.Elements())
			require.NoError(t, file.ReadFloat32(tensor, values, 0))
			tensors = append(tensors, quantized(t, tensor, values, block, double)...)
			continue
		}
		kept := safetensors.Data{Name: tensor.Name, DType: tensor.DType, Shape: tensor.Shape, Bytes: make([]byte, tensor.Size)}
		require.NoError(t, file.ReadBytes(tensor, kept.Bytes, 0))
		tensors = append(tensors, kept)
	}
	var out bytes.Buffer
	require.NoError(t, safetensors.Write(&out, map[string]string{"format": "pt"}, tensors))
	require.NoError(t, os.WriteFile(name, out.Bytes(), 0o666))

	name = filepath.Join(dir, "config.json")
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	var config map[string]any
	require.NoError(t, json.Unmarshal(text, &config))
	config["quantization_config"] = map[string]any{
		"quant_method": "bitsandbytes", "load_in_4bit": true, "load_in_8bit": false, "bnb_4bit_quant_type": "nf4",
		"bnb_4bit_use_double_quant": double, "bnb_4bit_compute_dtype": "bfloat16", "bnb_4bit_quant_storage": "uint8",
		"llm_int8_skip_modules": append([]string{"lm_head"}, skipped...),
	}
	text, err = json.Marshal(config)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name, text, 0o666))
}

// quantized are the tensors of one matrix.
func quantized(t testing.TB, from safetensors.Tensor, values []float32, block int, double bool) []safetensors.Data {
	n := len(values)
	packed, absmax := make([]byte, nf4.PackedLen(n)), make([]float32, nf4.Blocks(n, block))
	nf4.Quantize(values, block, packed, absmax)
	state := doublequant.QuantState{QuantType: "nf4", BlockSize: block, DType: "bfloat16", Shape: from.Shape}
	var list []safetensors.Data
	put := func(suffix string, dtype safetensors.DType, data []byte, shape ...int) {
		list = append(list, safetensors.Data{Name: from.Name + suffix, DType: dtype, Shape: shape, Bytes: data})
	}
	floats := func(suffix string, values []float32) {
		put(suffix, safetensors.F32, safetensors.Float32Bytes(values), len(values))
	}
	put("", safetensors.U8, packed, len(packed), 1)
	if double {
		s := doublequant.Quantize(absmax)
		state.NestedBlockSize, state.NestedDType, state.NestedOffset = doublequant.BlockSize, "float32", s.Offset
		put(doublequant.AbsmaxSuffix, safetensors.U8, s.Codes, len(s.Codes))
		floats(doublequant.NestedAbsmaxSuffix, s.Nested)
		floats(doublequant.NestedQuantMapSuffix, doublequant.SignedMap[:])
	} else {
		floats(doublequant.AbsmaxSuffix, absmax)
	}
	floats(doublequant.QuantMapSuffix, nf4.Codebook[:])
	text, err := state.MarshalJSON()
	require.NoError(t, err)
	put(doublequant.QuantStateSuffix, safetensors.U8, text, len(text))
	return list
}

// Overwrite puts bytes into a tensor of the folder, from byte at on.
func Overwrite(t testing.TB, dir, tensor string, at int64, with []byte) {
	t.Helper()
	name := filepath.Join(dir, "model.safetensors")
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	file, err := safetensors.Read(bytes.NewReader(data), int64(len(data)), name)
	require.NoError(t, err)
	entry, ok := file.Lookup(tensor)
	require.True(t, ok, tensor)
	copy(data[entry.Offset+at:entry.Offset+entry.Size], with)
	require.NoError(t, os.WriteFile(name, data, 0o666))
}
