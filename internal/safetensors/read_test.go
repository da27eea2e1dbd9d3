package safetensors

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/usererr"
)

// file puts a length before a header and data behind it.
func file(header string, data ...byte) []byte {
	out := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	return append(append(out, header...), data...)
}

func TestReadRefuses(t *testing.T) {
	const f = usererr.Format
	for _, c := range []struct {
		name    string
		file    []byte
		kind    usererr.Kind
		message string
	}{
		{"empty file", nil, f, "offset 0: bad format: the file has 0 bytes, a header length takes 8"},
		{"header length 1", file("{"), f, "offset 0: bad format: the header length is 1, the shortest header {} has 2 bytes"},
		{"header length above the limit", binary.LittleEndian.AppendUint64(nil, 100_000_001), f,
			"offset 0: bad format: the header length is 100000001, the limit is 100000000"},
		{"header length 2^64-1", binary.LittleEndian.AppendUint64(nil, math.MaxUint64), f,
			"offset 0: bad format: the header length is 18446744073709551615, the limit is 100000000"},
		{"cut header", file(`{"a":1}`)[:12], f,
			"offset 0: bad format: the header length is 7, the file has 4 bytes left (the file is cut off or is no safetensors file)"},
		{"space before the header", file(` {}`), f, "offset 8: bad format: the header starts with ' ' instead of {"},
		{"no JSON", file(`{"a":}`), f, "offset 13: bad format: the header is no valid JSON at \"/a\": missing value after object name"},
		{"unfinished", file(`{"a"  `), f, `offset 14: bad format: the header is no valid JSON at "/a": it ends too soon`},
		{"invalid UTF-8", file("{\"\xff\":1}"), f, "offset 10: bad format: the header is no valid JSON at \"\": invalid UTF-8"},
		{"newline behind the header", file("{} \n"), f, `offset 11: bad format: '\n' follows the end of the header`},
		{"second object", file("{}{}"), f, "offset 10: bad format: '{' follows the end of the header"},
		{"duplicate name", file(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}`),
			f, `offset 61: bad format: the header is no valid JSON at "/a": duplicate object member name`},
		{
			"duplicate field", file(`{"a":{"dtype":"U8","dtype":"U8"}}`), f,
			`offset 27: bad format: the header is no valid JSON at "/a/dtype": duplicate object member name`,
		},
		{
			"duplicate metadata", file(`{"__metadata__":{"k":"v","k":"w"}}`), f,
			`offset 33: bad format: the header is no valid JSON at "/__metadata__/k": duplicate object member name`,
		},
		{"pointer", []byte(usererr.LFSStart + "v1\noid sha256:ab\n"), f, "bad format: Git LFS has left a pointer here, not the file (fetch"},
		{"metadata not a string", file(`{"__metadata__":{"k":1}}`), f, "offset 30: bad format: the header has a number where a string belongs"},
		{"metadata not an object", file(`{"__metadata__":[]}`), f, "offset 25: bad format: the header has a [ where a { belongs"},
		{"tensor not an object", file(`{"a":"U8"}`), f, "offset 17: bad format: the header has a string where a { belongs"},
		{"unknown field", file(`{"a":{"stride":[1]}}`), f, `offset 22: bad format: tensor "a" has an unknown field "stride"`},
		{
			"missing field", file(`{"a":{"dtype":"U8","shape":[0]}}`), f,
			`offset 38: bad format: tensor "a" lacks one of dtype, shape, data_offsets`,
		},
		{
			"unknown dtype", file(`{"a":{"dtype":"Q4","shape":[0],"data_offsets":[0,0]}}`), f,
			`offset 26: bad format: tensor "a" has the unknown element type "Q4"`,
		},
		{"packed dtype", file(`{"a":{"dtype":"F4","shape":[2],"data_offsets":[0,1]}}`, 0), usererr.Unsupported,
			`offset 26: unsupported: tensor "a" has the packed element type F4`},
		{
			"negative dimension", file(`{"a":{"dtype":"U8","shape":[-1],"data_offsets":[0,0]}}`), f,
			"offset 38: bad format: -1 is no integer from 0 to 2^64-1",
		},
		{
			"fractional dimension", file(`{"a":{"dtype":"U8","shape":[1.0],"data_offsets":[0,1]}}`, 0), f,
			"offset 39: bad format: 1.0 is no integer from 0 to 2^64-1",
		},
		{"dimension above 2^63", file(`{"a":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,0]}}`), f,
			`offset 57: bad format: tensor "a" has a dimension of 18446744073709551615`},
		{
			"three offsets", file(`{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0,0]}}`), f,
			`offset 61: bad format: tensor "a" has 3 data_offsets instead of 2`,
		},
		{"overflowing product", file(`{"a":{"dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0]}}`), f,
			`offset 12: bad format: tensor "a": the size of U8[4294967296 4294967296] overflows`},
		{"overflowing product of an empty tensor", file(`{"a":{"dtype":"U8","shape":[0,4294967296,4294967296],"data_offsets":[0,0]}}`), f,
			`offset 12: bad format: tensor "a": the size of U8[0 4294967296 4294967296] overflows`},
		{"overflowing bytes", file(`{"a":{"dtype":"F64","shape":[1152921504606846976],"data_offsets":[0,0]}}`), f,
			`offset 12: bad format: tensor "a": the size of F64[1152921504606846976] overflows`},
		{
			"end before begin", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,0]}}`, 0), f,
			`offset 12: bad format: tensor "a" ends at 0 before it begins at 1`,
		},
		{"hole at the start", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}}`, 0, 0), f,
			`offset 12: bad format: tensor "a" begins at 1, leaving a hole of 1 bytes`},
		{"overlap", file(`{"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}}`, 0, 0, 0), f,
			`offset 64: bad format: tensor "b" begins at 1 inside the tensor that ends at 2`},
		{
			"size too small", file(`{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,3]}}`, 0, 0, 0), f,
			`offset 12: bad format: tensor "a" spans 3 bytes, F16[2] takes 4`,
		},
		{"cut data", file(`{"a":{"dtype":"F16","shape":[2],"data_offsets":[0,4]}}`, 0, 0, 0), f,
			`offset 12: bad format: tensor "a" ends at 4, the file holds 3 bytes of data (the file is cut off, fetch it again)`},
		{
			"trailing data", file(`{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}`, 0, 0), f,
			"offset 62: bad format: 1 bytes follow the last tensor",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Read(bytes.NewReader(c.file), int64(len(c.file)), "m.safetensors")
			require.Error(t, err)
			require.True(t, usererr.Is(err, c.kind))
			require.Contains(t, err.Error(), "read safetensors m.safetensors: "+c.message)
		})
	}
}

func TestReadAccepts(t *testing.T) {
	header := `{"b":{"data_offsets":[2,6],"dtype":"F32","shape":[]},"__metadata__":{"format":"pt"},` +
		`"\u0061":{"dtype":"F16","shape":[1,1],"data_offsets":[0,2]},"e":{"dtype":"I64","shape":[0,7],"data_offsets":[2,2]}}   `
	b := file(header, 0, 0x3c, 0, 0, 0x20, 0x41)
	f, err := Read(bytes.NewReader(b), int64(len(b)), "m")
	require.NoError(t, err)
	start := int64(8 + len(header))
	require.Equal(t, start, f.DataStart())
	require.Equal(t, map[string]string{"format": "pt"}, f.Metadata())
	require.Equal(t, []Tensor{
		{"a", F16, []int{1, 1}, start, 2}, {"e", I64, []int{0, 7}, start + 2, 0}, {"b", F32, []int{}, start + 2, 4},
	}, f.Tensors())

	a, ok := f.Lookup("a")
	require.True(t, ok)
	x := []float32{0}
	require.NoError(t, f.ReadFloat32(a, x, 0))
	require.Equal(t, []float32{1}, x)
	scalar, _ := f.Lookup("b")
	require.NoError(t, f.ReadFloat32(scalar, x, 0))
	require.Equal(t, []float32{10}, x)
	_, ok = f.Lookup("c")
	require.False(t, ok)

	for _, header := range []string{"{}", `{"__metadata__":null}`, `{"__metadata__":{}}`} {
		empty := file(header)
		f, err = Read(bytes.NewReader(empty), int64(len(empty)), "m")
		require.NoError(t, err)
		require.Empty(t, f.Tensors())
		require.Empty(t, f.Metadata())
	}
}

func TestReadFloat32RefusesIntegers(t *testing.T) {
	b := file(`{"a":{"dtype":"I32","shape":[1],"data_offsets":[0,4]}}`, 0, 0, 0, 0)
	f, err := Read(bytes.NewReader(b), int64(len(b)), "m")
	require.NoError(t, err)
	err = f.ReadFloat32(f.Tensors()[0], make([]float32, 1), 0)
	require.True(t, usererr.Is(err, usererr.Unsupported))
	require.ErrorContains(t, err, `offset 62: unsupported: tensor "a" has element type I32 (weights must be F64, F32, F16 or BF16)`)
}

// TestFileShrinksWhileOpen: the header was checked against a size that no longer holds.
func TestFileShrinksWhileOpen(t *testing.T) {
	b := file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, make([]byte, 8)...)
	f, err := Read(bytes.NewReader(b[:len(b)-4]), int64(len(b)), "m")
	require.NoError(t, err)
	err = f.ReadFloat32(f.Tensors()[0], make([]float32, 2), 0)
	require.ErrorContains(t, err, `read safetensors m: offset 62: bad format: tensor "a": it ends too soon`)
}

func TestReadOutsideTheTensorPanics(t *testing.T) {
	b := file(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, make([]byte, 8)...)
	f, err := Read(bytes.NewReader(b), int64(len(b)), "m")
	require.NoError(t, err)
	a := f.Tensors()[0]
	for _, first := range []int{-1, 1, 3, math.MaxInt} {
		require.Panics(t, func() { _ = f.ReadFloat32(a, make([]float32, 2), first) }, first)
		require.Panics(t, func() { _ = f.ReadBytes(a, make([]byte, 8), int64(first)) }, first)
	}
}

// FuzzRead attacks the header with a length that fits it or is off, and the data behind it.
func FuzzRead(f *testing.F) {
	for _, seed := range []string{
		`{}`, `{"a":{"dtype":"F16","shape":[1,2],"data_offsets":[0,4]}}`, `{"__metadata__":{"k":"v"}} `,
		`{"a":{"dtype":"BF16","shape":[],"data_offsets":[0,2]},"b":{"dtype":"BOOL","shape":[2],"data_offsets":[2,4]}}`,
		`{"a":{"dtype":"F64","shape":[0,9999999999999],"data_offsets":[0,0]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`,
		`{"b":{"dtype":"U8","shape":[2,1],"data_offsets":[2,4]},"a":{"dtype":"I16","shape":[1],"data_offsets":[0,2]}}`,
		`{"a":{"dtype":"I64","shape":[-1],"data_offsets":[4,0]}}`,
	} {
		f.Add(seed, []byte{1, 2, 3, 4}, int64(0))
		f.Add(seed, []byte(nil), int64(0))
		f.Add(seed, []byte{1}, int64(-1))
		f.Add(seed, []byte(nil), int64(1)<<62)
	}
	f.Fuzz(func(t *testing.T, header string, data []byte, off int64) {
		b := binary.LittleEndian.AppendUint64(nil, uint64(int64(len(header))+off))
		b = append(append(b, header...), data...)
		file, err := Read(bytes.NewReader(b), int64(len(b)), "fuzz")
		if err != nil {
			require.IsType(t, &usererr.Error{}, err)
			return
		}
		end := file.DataStart()
		for _, tensor := range file.Tensors() {
			require.Equal(t, end, tensor.Offset)
			end += tensor.Size
			require.Equal(t, tensor.Size, int64(tensor.Elements()*tensor.DType.Size()))
			found, ok := file.Lookup(tensor.Name)
			require.True(t, ok)
			require.Equal(t, tensor, found)
			raw := make([]byte, tensor.Size)
			require.NoError(t, file.ReadBytes(tensor, raw, 0))
			require.True(t, bytes.Equal(b[tensor.Offset:end], raw))
			dst := make([]float32, tensor.Elements())
			if err := file.ReadFloat32(tensor, dst, 0); err != nil {
				require.True(t, usererr.Is(err, usererr.Unsupported), fmt.Sprint(err))
			}
		}
		require.Equal(t, int64(len(b)), end)
	})
}
