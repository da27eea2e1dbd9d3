package doublequant_test

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/doublequant"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/testfiles"
	"qlora-wgpu/nf4"
)

func floats(data []byte) []float32 {
	out := make([]float32, len(data)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return out
}

// bfloat16 rounds to nearest, ties to even.
func bfloat16(v float32) uint16 {
	bits := math.Float32bits(v)
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

// bnbFiles lists the copies in testdata and, where it exists, the folder of all references.
func bnbFiles(t *testing.T, pattern string) []string {
	files, err := filepath.Glob(filepath.Join("testdata", pattern))
	require.NoError(t, err)
	require.NotEmpty(t, files)
	t.Run("reference folder", func(t *testing.T) {
		more, err := filepath.Glob(filepath.Join(testfiles.Reference(t, "bnb"), pattern))
		require.NoError(t, err)
		require.NotEmpty(t, more)
		files = append(files, more...)
	})
	return files
}

// Slices of published checkpoints with the bfloat16 output of bitsandbytes' CUDA kernel. The file is nine little-endian
// u32 (format: 0 plain absmax, 2 double quantization; n; block size; then the byte lengths of weight, absmax,
// quant_map, nested_absmax, nested_quant_map, expected), the f32 offset, and the data in that order.
func TestDecodesPublishedCheckpoints(t *testing.T) {
	seen := map[uint32]bool{}
	for _, path := range bnbFiles(t, "*.bin") {
		t.Run(filepath.Base(path), func(t *testing.T) {
			data, err := os.ReadFile(path)
			require.NoError(t, err)
			var header [9]uint32
			for i := range header {
				header[i] = binary.LittleEndian.Uint32(data[4*i:])
			}
			offset := math.Float32frombits(binary.LittleEndian.Uint32(data[36:]))
			rest := data[40:]
			part := func(i int) []byte {
				p := rest[:header[i]]
				rest = rest[header[i]:]
				return p
			}
			packed, absmaxBytes, quantMap, nestedAbsmax, nestedMap, expected := part(3), part(4), part(5), part(6), part(7), part(8)
			require.Empty(t, rest)
			n, blockSize := int(header[1]), int(header[2])
			require.Equal(t, nf4.Codebook[:], floats(quantMap))

			var absmax []float32
			switch header[0] {
			case 0:
				absmax = floats(absmaxBytes)
			case 2:
				require.Equal(t, doublequant.SignedMap[:], floats(nestedMap))
				state := doublequant.State{Codes: absmaxBytes, Nested: floats(nestedAbsmax), Offset: offset}
				absmax = make([]float32, len(absmaxBytes))
				state.Dequantize(absmax)
			default:
				require.Failf(t, "unknown format", "%d", header[0])
			}
			seen[header[0]] = true

			got := make([]float32, n)
			nf4.Dequantize(packed, absmax, blockSize, got)
			require.Len(t, expected, 2*n)
			mismatches := 0
			for i, v := range got {
				if bfloat16(v) != binary.LittleEndian.Uint16(expected[2*i:]) {
					mismatches++
				}
			}
			require.Zero(t, mismatches)

			// Quantizing the decoded weights again gives the same codes: each block still holds a value at code 0 or 15.
			again, againAbsmax := make([]byte, len(packed)), make([]float32, len(absmax))
			nf4.Quantize(got, blockSize, again, againAbsmax)
			require.Equal(t, packed, again)
			require.Equal(t, absmax, againAbsmax)
		})
	}
	require.Equal(t, map[uint32]bool{0: true, 2: true}, seen)
}

func TestReadsQuantStateFromSafetensors(t *testing.T) {
	for _, path := range bnbFiles(t, "*.safetensors") {
		file := openSafetensors(t, path)
		requireTensors(t, file, strings.TrimSuffix(path, ".safetensors")+".expected.json")
		read := func(name string) (data []byte, shape []int) {
			tensor, ok := file.Lookup(name)
			require.True(t, ok, name)
			data = make([]byte, tensor.Size)
			require.NoError(t, file.ReadBytes(tensor, data, 0))
			return data, tensor.Shape
		}
		const name = "model.layers.0.weight"
		text, _ := read(name + doublequant.QuantStateSuffix)
		q, err := doublequant.ParseQuantState(text, path)
		require.NoError(t, err)
		require.Equal(t, doublequant.QuantState{QuantType: "nf4", BlockSize: 64, DType: "bfloat16", Shape: []int{8, 8}}, q)
		packed, shape := read(name)
		require.Equal(t, []int{nf4.PackedLen(q.Elements()), 1}, shape)
		absmax, shape := read(name + doublequant.AbsmaxSuffix)
		require.Equal(t, []int{nf4.Blocks(q.Elements(), q.BlockSize)}, shape)
		_, shape = read(name + doublequant.QuantMapSuffix)
		require.Equal(t, []int{len(nf4.Codebook)}, shape)
		got := make([]float32, q.Elements())
		nf4.Dequantize(packed, floats(absmax), q.BlockSize, got)
		for _, v := range got { // the file's codes are all 0 and its absmax is 1
			require.EqualValues(t, -1, v)
		}
	}
}

// requireTensors compares the file's tensors with the listing that was made along with it.
func requireTensors(t *testing.T, file *safetensors.File, listing string) {
	t.Helper()
	text, err := os.ReadFile(listing)
	require.NoError(t, err)
	var want struct {
		HeaderSize int64 `json:"header_size"`
		Tensors    []struct {
			Name    string            `json:"name"`
			DType   safetensors.DType `json:"dtype"`
			Shape   []int             `json:"shape"`
			Offsets [2]int64          `json:"data_offsets"`
		} `json:"tensors"`
	}
	require.NoError(t, json.Unmarshal(text, &want))
	require.Equal(t, 8+want.HeaderSize, file.DataStart()) // the size does not count its own 8 bytes
	require.Len(t, file.Tensors(), len(want.Tensors))
	for _, w := range want.Tensors {
		got, ok := file.Lookup(w.Name)
		require.True(t, ok, w.Name)
		require.Equal(t, safetensors.Tensor{Name: w.Name, DType: w.DType, Shape: w.Shape,
			Offset: file.DataStart() + w.Offsets[0], Size: w.Offsets[1] - w.Offsets[0]}, got)
	}
}
