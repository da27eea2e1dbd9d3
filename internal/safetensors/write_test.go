package safetensors

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/testfiles"
)

func TestWriteThenRead(t *testing.T) {
	n := piece/4 + 77 // more than one piece
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(i%1000) * 0.5
	}
	f64 := binary.LittleEndian.AppendUint64(nil, math.Float64bits(0.1))
	metadata := map[string]string{"z": "last \"quoted\"", "a": "<first>"}
	tensors := []Data{
		{"z.first", U8, []int{3}, []byte{1, 2, 3}},
		{"x", F32, []int{1, n}, Float32Bytes(x)},
		{"bf", BF16, []int{n}, BFloat16Bytes(x)},
		{"é\n", F64, []int{}, f64},
		{"none", F32, []int{0, 4}, nil},
	}
	var out bytes.Buffer
	require.NoError(t, Write(&out, metadata, tensors))
	require.Contains(t, out.String(),
		`{"__metadata__":{"a":"<first>","z":"last \"quoted\""},"z.first":{"dtype":"U8","shape":[3],"data_offsets":[0,3]},"x"`)

	f, err := Read(bytes.NewReader(out.Bytes()), int64(out.Len()), "m")
	require.NoError(t, err)
	require.Zero(t, f.DataStart()%8)
	require.Equal(t, metadata, f.Metadata())
	require.Len(t, f.Tensors(), len(tensors))
	for _, want := range tensors {
		got, ok := f.Lookup(want.Name)
		require.True(t, ok, want.Name)
		require.Equal(t, want.Shape, got.Shape)
		require.Equal(t, want.DType, got.DType)
		data := make([]byte, got.Size)
		require.NoError(t, f.ReadBytes(got, data, 0))
		require.True(t, bytes.Equal(want.Bytes, data), want.Name)
	}

	tensor, _ := f.Lookup("x")
	dst := make([]float32, n-5)
	require.NoError(t, f.ReadFloat32(tensor, dst, 5))
	require.Equal(t, x[5:], dst)
	tensor, _ = f.Lookup("bf")
	require.NoError(t, f.ReadFloat32(tensor, dst[:3], 100))
	require.Equal(t, []float32{50, 50.5, 51}, dst[:3])
	tensor, _ = f.Lookup("é\n")
	require.NoError(t, f.ReadFloat32(tensor, dst[:1], 0))
	require.Equal(t, float32(0.1), dst[0])
}

func TestWriteRefuses(t *testing.T) {
	require.Panics(t, func() { _ = Write(&bytes.Buffer{}, nil, []Data{{"a", F32, []int{2}, make([]byte, 4)}}) })
	require.Panics(t, func() { _ = Write(&bytes.Buffer{}, nil, []Data{{"a", "F4", []int{2}, nil}}) })
	require.Panics(t, func() {
		_ = WriteHeader(&bytes.Buffer{}, nil, []Tensor{{Name: "a", DType: U8}, {Name: "a", DType: U8}})
	})
	require.ErrorContains(t, Write(&bytes.Buffer{}, nil, []Data{{"\xff", U8, []int{0}, nil}}), "invalid UTF-8")
	full := errors.New("disk full")
	for room := range 3 {
		w := &limited{room: room, err: full}
		require.ErrorIs(t, Write(w, nil, []Data{{"a", U8, []int{1}, []byte{1}}}), full)
	}
}

// limited takes a number of writes and then fails.
type limited struct {
	room int
	err  error
}

func (l *limited) Write(p []byte) (int, error) {
	if l.room == 0 {
		return 0, l.err
	}
	l.room--
	return len(p), nil
}

// TestReadReferences reads files that PyTorch and bitsandbytes wrote; the hashes were computed with numpy from the raw
// files.
func TestReadReferences(t *testing.T) {
	for _, c := range []struct {
		path    []string
		tensors int
		name    string
		dtype   DType
		shape   []int
		raw     string // SHA-256 of the bytes
		float   string // SHA-256 of the elements as float32, empty for element types that are no floats
	}{
		{[]string{"parity", "tiny", "model", "model.safetensors"}, 21, "model.layers.0.mlp.down_proj.weight", BF16, []int{128, 320},
			"53de1613b1a6c9dfb6046015bd1333727c47f83c10dab66a7b64fbfe1b8748ef", "b309580f98365d335eb8f039b1dc82a628be53fffac29303dedf406671b6fae4"},
		{[]string{"parity", "smollm2", "init_adapter", "adapter_model.safetensors"},
			420, "base_model.model.model.layers.0.mlp.gate_proj.lora_B.weight", F32,
			[]int{1536, 16}, "c7472703670a3f7ceeab281e9d2547043cf64f356c1c7e8c3bde9d0d5374d1db",
			"c7472703670a3f7ceeab281e9d2547043cf64f356c1c7e8c3bde9d0d5374d1db"},
		{[]string{"bnb", "bnb_nf4.safetensors"}, 5, "model.layers.0.weight.quant_state.bitsandbytes__nf4", U8, []int{121},
			"42e8e9e1a13796d52198b2945abdce933a743048cd98f4eec4b1fcf6cc61e35a", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := os.Open(testfiles.Reference(t, c.path...))
			require.NoError(t, err)
			defer r.Close()
			info, err := r.Stat()
			require.NoError(t, err)
			f, err := Read(r, info.Size(), r.Name())
			require.NoError(t, err)
			require.Len(t, f.Tensors(), c.tensors)
			tensor, ok := f.Lookup(c.name)
			require.True(t, ok)
			require.Equal(t, c.dtype, tensor.DType)
			require.Equal(t, c.shape, tensor.Shape)
			raw := make([]byte, tensor.Size)
			require.NoError(t, f.ReadBytes(tensor, raw, 0))
			require.Equal(t, c.raw, fmt.Sprintf("%x", sha256.Sum256(raw)))
			if c.float != "" {
				x := make([]float32, tensor.Elements())
				require.NoError(t, f.ReadFloat32(tensor, x, 0))
				require.Equal(t, c.float, fmt.Sprintf("%x", sha256.Sum256(Float32Bytes(x))))
			}
		})
	}
}
