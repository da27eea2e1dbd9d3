package doublequant_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/doublequant"
	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/testfiles"
	"qlora-wgpu/nf4"
)

// fingerprints of one weight after PyTorch and bitsandbytes quantized it: SHA-256 of little-endian bytes.
type fingerprints struct {
	Shape        []int   `json:"shape"`
	Packed       string  `json:"packed"`
	Absmax       string  `json:"absmax"`
	NestedAbsmax string  `json:"nested_absmax"`
	Offset       float64 `json:"offset"`
	Dequantized  string  `json:"dequantized"`
}

// Every weight of every parity case, to the last bit. A case without a model of its own is about the 135M GGUF.
func TestQuantizesLikeBitsandbytes(t *testing.T) {
	cases, err := filepath.Glob(filepath.Join(testfiles.Reference(t, "parity"), "*", "case.json"))
	require.NoError(t, err)
	require.NotEmpty(t, cases)
	for _, path := range cases {
		folder := filepath.Dir(path)
		t.Run(filepath.Base(folder), func(t *testing.T) {
			text, err := os.ReadFile(path)
			require.NoError(t, err)
			var c struct {
				Quantized map[string]fingerprints `json:"quantized"`
			}
			require.NoError(t, json.Unmarshal(text, &c))
			require.NotEmpty(t, c.Quantized)

			var read reader
			if model := filepath.Join(folder, "model", "model.safetensors"); exists(model) {
				read = safetensorsWeights(t, model)
			} else {
				read = ggufWeights(t, testfiles.Models(t, "SmolLM2-135M-Instruct.Q4_1.gguf"))
			}
			for name, want := range c.Quantized {
				x := read(name, want.Shape)
				require.Equal(t, -1, nf4.FirstNonFinite(x))
				packed, absmax := make([]byte, nf4.PackedLen(len(x))), make([]float32, nf4.Blocks(len(x), 64))
				nf4.QuantizeParallel(x, 64, packed, absmax)
				state := doublequant.Quantize(absmax)
				state.Dequantize(absmax)
				nf4.Dequantize(packed, absmax, 64, x)
				require.Equal(t, want, fingerprints{
					Shape: want.Shape, Packed: sha(t, packed), Absmax: sha(t, state.Codes), NestedAbsmax: sha(t, state.Nested),
					Offset: float64(state.Offset), Dequantized: sha(t, x),
				}, name)
			}
		})
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func sha(t *testing.T, values any) string {
	t.Helper()
	data, err := binary.Append(nil, binary.LittleEndian, values)
	require.NoError(t, err)
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// reader gives a weight by its Hugging Face name, in Hugging Face layout.
type reader func(name string, shape []int) []float32

func openSafetensors(t *testing.T, path string) *safetensors.File {
	t.Helper()
	data, err := os.ReadFile(path)
	require.NoError(t, err)
	file, err := safetensors.Read(bytes.NewReader(data), int64(len(data)), path)
	require.NoError(t, err)
	return file
}

func safetensorsWeights(t *testing.T, path string) reader {
	file := openSafetensors(t, path)
	return func(name string, shape []int) []float32 {
		tensor, ok := file.Lookup(name)
		require.True(t, ok, name)
		require.Equal(t, shape, tensor.Shape)
		x := make([]float32, tensor.Elements())
		require.NoError(t, file.ReadFloat32(tensor, x, 0))
		return x
	}
}

var ggufNames = strings.NewReplacer("model.layers.", "blk.", "self_attn.q_proj", "attn_q", "self_attn.k_proj", "attn_k",
	"self_attn.v_proj", "attn_v", "self_attn.o_proj", "attn_output", "mlp.gate_proj", "ffn_gate", "mlp.up_proj", "ffn_up",
	"mlp.down_proj", "ffn_down")

func ggufWeights(t *testing.T, path string) reader {
	f, err := os.Open(path)
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	info, err := f.Stat()
	require.NoError(t, err)
	file, err := gguf.Read(f, info.Size(), path)
	require.NoError(t, err)
	return func(name string, shape []int) []float32 {
		tensor, ok := file.Lookup(ggufNames.Replace(name))
		require.True(t, ok, name)
		require.Equal(t, shape, tensor.Shape)
		x := make([]float32, shape[0]*shape[1])
		require.NoError(t, file.ReadFloat32(tensor, x, 0, shape[0]))
		if strings.Contains(name, "q_proj") || strings.Contains(name, "k_proj") {
			x = uninterleave(x, 64, shape[1])
		}
		return x
	}
}

// uninterleave turns the rows (0, 1), (2, 3), … of a head, llama.cpp's rotary pairs, into (i, i+D/2).
func uninterleave(x []float32, headDim, columns int) []float32 {
	out := make([]float32, 0, len(x))
	for row := range len(x) / columns {
		head, i := row/headDim, row%headDim
		from := head*headDim + 2*(i%(headDim/2)) + i/(headDim/2)
		out = append(out, x[from*columns:(from+1)*columns]...)
	}
	return out
}
