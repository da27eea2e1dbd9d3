package gguf

import (
	"bytes"
	"encoding/binary"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/testfiles"
	"qlora-wgpu/internal/usererr"
)

// writer builds files, hostile ones too.
type writer struct{ bytes.Buffer }

func (w *writer) u32(v uint32) *writer {
	w.Write(binary.LittleEndian.AppendUint32(nil, v))
	return w
}

func (w *writer) u64(v uint64) *writer {
	w.Write(binary.LittleEndian.AppendUint64(nil, v))
	return w
}

func (w *writer) str(s string) *writer {
	w.u64(uint64(len(s)))
	w.WriteString(s)
	return w
}

// header takes 24 bytes.
func (w *writer) header(version uint32, tensors, pairs uint64) *writer {
	w.WriteString(Magic)
	return w.u32(version).u64(tensors).u64(pairs)
}

func (w *writer) tensor(name string, typ Type, offset uint64, ne ...uint64) *writer {
	w.str(name).u32(uint32(len(ne)))
	for _, n := range ne {
		w.u64(n)
	}
	return w.u32(uint32(typ)).u64(offset)
}

// data pads to the alignment and adds n bytes.
func (w *writer) data(alignment, n int) *writer {
	w.Write(make([]byte, (alignment-w.Len()%alignment)%alignment+n))
	return w
}

func TestReadRefuses(t *testing.T) {
	const f, u = usererr.Format, usererr.Unsupported
	start := func(tensors, pairs uint64) *writer { return new(writer).header(3, tensors, pairs) }
	for _, c := range []struct {
		name    string
		file    *writer
		kind    usererr.Kind
		message string
	}{
		{"empty", new(writer), f, "offset 0: bad format: 4 bytes are needed, the file has 0 left (the file is cut off or damaged)"},
		{"magic", new(writer).u32(0x46554746), f, `offset 0: bad format: the file starts with "FGUF" instead of "GGUF"`},
		{"pointer", new(writer).raw([]byte(usererr.LFSStart + "v1\n")...), f,
			"read gguf m.gguf: bad format: Git LFS has left a pointer here, not the file (fetch the file itself: git lfs pull"},
		{"cut", start(0, 0).cut(20), f, "offset 16: bad format: 8 bytes are needed, the file has 4 left"},
		{"version 1", new(writer).header(1, 0, 0), u, "offset 4: unsupported: version 1 (versions 2 and 3 are read"},
		{"big endian", new(writer).header(3<<24, 0, 0), u, "offset 4: unsupported: the file is big endian"},
		{"tensor count", start(1000, 0), f, "offset 8: bad format: 1000 tensors cannot fit in the 8 bytes that follow"},
		{
			"pair count", start(0, math.MaxUint64), f,
			"offset 16: bad format: 18446744073709551615 metadata entries cannot fit in the 0 bytes that follow",
		},
		{
			"key length", start(0, 1).u64(1<<62).data(1, 20), f,
			"offset 24: bad format: a string has 4611686018427387904 bytes, the limit is 16777216",
		},
		{"key beyond the end", start(0, 1).u64(100).data(1, 20), f, "offset 32: bad format: 100 bytes are needed, the file has 20 left"},
		{"empty key", start(0, 1).str("").u32(0).data(1, 20), f, "offset 24: bad format: a metadata key is empty"},
		{
			"duplicate key", start(0, 2).str("k").u32(4).u32(1).str("k").u32(4).u32(1), f,
			`offset 41: bad format: two metadata entries are named "k"`,
		},
		{"unknown type", start(0, 1).str("k").u32(13).u64(0), f, "offset 33: bad format: metadata has the unknown type 13"},
		{"unknown element type", start(0, 1).str("k").u32(9).u32(77).u64(0), f, "offset 37: bad format: metadata has the unknown type 77"},
		{"nested array", start(0, 1).str("k").u32(9).u32(9).u64(1).u32(4).u64(0), f, "offset 37: bad format: k is an array of arrays"},
		{
			"long array", start(0, 1).str("k").u32(9).u32(0).u64(64<<20 + 1), f,
			"offset 37: bad format: k has 67108865 elements, the limit is 67108864",
		},
		{
			"array beyond the end", start(0, 1).str("k").u32(9).u32(10).u64(3).u64(0), f,
			"offset 49: bad format: 24 bytes are needed, the file has 8 left",
		},
		{
			"array of strings beyond the end", start(0, 1).str("k").u32(9).u32(8).u64(1 << 26), f,
			"offset 49: bad format: 536870912 bytes are needed, the file has 0 left",
		},
		{"bool 2", start(0, 1).str("k").u32(7).data(1, 0).raw(2), f, "offset 37: bad format: k is a bool of value 2"},
		{
			"alignment type", start(0, 1).str("general.alignment").u32(10).u64(32), f,
			"offset 53: bad format: general.alignment has type uint64, a uint32 was wanted",
		},
		{
			"alignment array", start(0, 1).str("general.alignment").u32(9).u32(4).u64(0), f,
			"offset 53: bad format: general.alignment has type array of uint32, a uint32 was wanted",
		},
		{
			"alignment 0", start(0, 1).str("general.alignment").u32(4).u32(0), f,
			"offset 53: bad format: general.alignment is 0, a power of two up to 65536 was wanted",
		},
		{"alignment 48", start(0, 1).str("general.alignment").u32(4).u32(48), f, "offset 53: bad format: general.alignment is 48, a power"},
		{
			"alignment 128 KiB", start(0, 1).str("general.alignment").u32(4).u32(1 << 17), f,
			"offset 53: bad format: general.alignment is 131072, a power",
		},
		{
			"tensor name of 64 bytes", start(1, 0).tensor(strings.Repeat("n", 64), F32, 0, 1), f,
			"offset 24: bad format: a string has 64 bytes, the limit is 63",
		},
		{"duplicate tensor", start(2, 0).tensor("a", F32, 0, 1).tensor("a", F32, 32, 1), f, `offset 57: bad format: two tensors are named "a"`},
		{
			"five dimensions", start(1, 0).tensor("a", F32, 0, 1, 1, 1, 1, 1), f,
			`offset 24: bad format: tensor "a" has 5 dimensions, the limit is 4`,
		},
		{
			"zero dimension", start(1, 0).tensor("a", F32, 0, 4, 0), f,
			`offset 24: bad format: tensor "a": dimension 1 is 0: the number of elements`,
		},
		{
			"elements overflow", start(1, 0).tensor("a", F32, 0, 1<<32, 1<<31), f,
			`offset 24: bad format: tensor "a": dimension 1 is 2147483648: the number`,
		},
		{
			"elements overflow 64 bits", start(1, 0).tensor("a", F32, 0, 1<<32, 1<<32), f,
			`offset 24: bad format: tensor "a": dimension 1 is 4294967296: the number`,
		},
		{
			"bytes overflow", start(1, 0).tensor("a", F32, 0, 1<<31, 1<<30), f,
			`offset 24: bad format: the size of tensor "a" F32[1073741824 2147483648] overflows`,
		},
		{
			"unsupported type", start(1, 0).tensor("a", 16, 0, 256), u, `offset 24: unsupported: tensor "a" has type IQ2_XXS (take`,
		},
		{
			"unknown tensor type", start(1, 0).tensor("a", 999, 0, 256), u,
			`offset 24: unsupported: tensor "a" has type number 999 (take the model in one of F32, F16, Q4_0, Q4_1, Q`,
		},
		{
			"half a block", start(1, 0).tensor("a", Q4_0, 0, 48, 2), f,
			`offset 24: bad format: tensor "a" has rows of 48 elements, Q4_0 comes in blocks of 32`,
		},
		{
			"first offset", start(1, 0).tensor("a", F32, 32, 1), f,
			`offset 24: bad format: tensor "a" has offset 32, the tensors before it end at 0`,
		},
		{
			"overlap", start(2, 0).tensor("a", F32, 0, 9).tensor("b", F32, 32, 1), f,
			`offset 57: bad format: tensor "b" has offset 32, the tensors before it end at 64`,
		},
		{"cut data", start(1, 0).tensor("a", F32, 0, 9).data(32, 35), f,
			`offset 64: bad format: tensor "a" needs bytes up to 36 of the data, the file holds 35 (the file is cut off, fetch it again)`},
		{
			"no data", start(1, 0).tensor("a", F32, 0, 9), f, `offset 64: bad format: tensor "a" needs bytes up to 36 of the data, the file holds 0`,
		},
		{"second tensor beyond the end", start(2, 0).tensor("a", F32, 0, 8).tensor("b", F32, 32, 1<<40).data(32, 64), f,
			`bad format: tensor "b" needs bytes up to 4398046511136 of the data, the file holds 64`},
		{"running sum overflows", start(2, 0).tensor("a", F16, 0, 1<<61).tensor("b", F16, 1<<62, 1<<61).tensor("c", F16, 1<<63, 1), f,
			`tensor "b" ends beyond 2^63 bytes`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Read(bytes.NewReader(c.file.Bytes()), int64(c.file.Len()), "m.gguf")
			require.Error(t, err)
			require.True(t, usererr.Is(err, c.kind))
			require.Contains(t, err.Error(), "read gguf m.gguf: ")
			require.Contains(t, err.Error(), c.message)
		})
	}
}

func (w *writer) cut(n int) *writer {
	w.Truncate(n)
	return w
}

func (w *writer) raw(b ...byte) *writer {
	w.Write(b)
	return w
}

func TestReadAccepts(t *testing.T) {
	var w writer
	w.header(2, 3, 1).str("general.alignment").u32(4).u32(8)
	w.tensor("scalar", F32, 0).tensor("cube", F16, 8, 3, 2, 2).tensor("last", Q8_0, 32, 32)
	w.data(8, 0).u32(math.Float32bits(2.5)).data(8, 24).raw(0, 0x3c, 1).data(1, 30).raw(0xff)
	f, err := Read(bytes.NewReader(w.Bytes()), int64(w.Len()), "m")
	require.NoError(t, err)
	start := f.DataStart()
	require.Zero(t, start%8)
	require.Equal(t, []Tensor{
		{"scalar", F32, []int{}, start, 4, 0}, {"cube", F16, []int{2, 2, 3}, start + 8, 24, 0}, {"last", Q8_0, []int{32}, start + 32, 34, 0},
	},
		f.Tensors())
	scalar, _ := f.Lookup("scalar")
	x := make([]float32, 32)
	require.NoError(t, f.ReadFloat32(scalar, x[:1], 0, 1))
	require.Equal(t, float32(2.5), x[0])
	cube, _ := f.Lookup("cube")
	require.Equal(t, []int{4, 3}, []int{cube.Rows(), cube.Cols()})
	last, ok := f.Lookup("last")
	require.True(t, ok)
	require.NoError(t, f.ReadFloat32(last, x, 0, 1))
	require.Equal(t, float32(1), x[0])
	require.Equal(t, float32(-1), x[31])
	_, ok = f.Lookup("absent")
	require.False(t, ok)

	for _, bad := range [][2]int{{-1, 1}, {0, 2}, {1, 1}, {2, -1}, {0, 0}} {
		require.Panics(t, func() { _ = f.ReadFloat32(last, x, bad[0], bad[1]) }, bad)
	}
}

// TestReadLongRows crosses the boundary between two pieces of the work buffer.
func TestReadLongRows(t *testing.T) {
	const n = 300 << 10
	var w writer
	w.header(3, 1, 0).tensor("a", F32, 0, n, 2).data(32, 0)
	for i := range uint32(2 * n) {
		w.u32(math.Float32bits(float32(i)))
	}
	f, err := Read(bytes.NewReader(w.Bytes()), int64(w.Len()), "m")
	require.NoError(t, err)
	x := make([]float32, n)
	require.NoError(t, f.ReadFloat32(f.Tensors()[0], x, 1, 1))
	for i, v := range x {
		if v != float32(n+i) {
			t.Fatalf("element %d is %v", i, v)
		}
	}
}

func TestFileShrinksWhileOpen(t *testing.T) {
	var w writer
	w.header(3, 1, 0).tensor("a", F32, 0, 8).data(32, 32)
	f, err := Read(bytes.NewReader(w.Bytes()[:w.Len()-1]), int64(w.Len()), "m")
	require.NoError(t, err)
	require.EqualError(t, f.ReadFloat32(f.Tensors()[0], make([]float32, 8), 0, 1),
		`read gguf m: offset 64: bad format: tensor "a": it ends too soon`)
	_, err = Read(bytes.NewReader(w.Bytes()[:30]), int64(w.Len()), "m")
	require.EqualError(t, err, "read gguf m: offset 30: bad format: it ends too soon")
}

func TestReadModel(t *testing.T) {
	r, err := os.Open(testfiles.Models(t, "SmolLM2-135M-Instruct.Q4_1.gguf"))
	require.NoError(t, err)
	defer r.Close()
	info, err := r.Stat()
	require.NoError(t, err)
	f, err := Read(r, info.Size(), r.Name())
	require.NoError(t, err)
	require.Len(t, f.Tensors(), 272)
	down, ok := f.Lookup("blk.0.ffn_down.weight")
	require.True(t, ok)
	require.Equal(t, Tensor{"blk.0.ffn_down.weight", Q4_1, []int{576, 1536}, 31868992, 576 * 1536 / 32 * 20, 0}, down)
	tokens, ok, err := f.Strings("tokenizer.ggml.tokens")
	require.NoError(t, err)
	require.True(t, ok)
	require.Len(t, tokens, 49152)
	require.Equal(t, "<|im_start|>", tokens[1])
}

func FuzzRead(f *testing.F) {
	b, err := os.ReadFile("testdata/types.gguf")
	require.NoError(f, err)
	f.Add(b[:2000])
	var w writer
	w.header(3, 2, 2).str("general.alignment").u32(4).u32(8).str("s").u32(9).u32(8).u64(2).str("x").str("")
	w.tensor("a", F32, 0, 2).tensor("b", Q4_0, 8, 32, 2).data(8, 8+36)
	f.Add(w.Bytes())
	var deep writer // arrays of arrays, every scalar, version 2
	deep.header(2, 1, 5).str("a").u32(9).u32(9).u64(2).u32(5).u64(1).u32(7).u32(8).u64(1).str("s")
	deep.str("b").u32(7).raw(1).str("c").u32(12).u64(0x3ff0000000000000).str("d").u32(10).u64(1 << 63).str("e").u32(0).raw(255)
	deep.tensor("t", Q8_0, 0, 32).data(32, 34)
	f.Add(deep.Bytes())
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Read(bytes.NewReader(b), int64(len(b)), "fuzz")
		if err != nil {
			require.IsType(t, &usererr.Error{}, err)
			return
		}
		for key := range file.metadata {
			_, _, _ = file.Int(key)
			_, _, _ = file.Ints(key)
			_, _, _ = file.Float(key)
			_, _, _ = file.Bool(key)
			_, _, _ = file.String(key)
			_, _, _ = file.Strings(key)
		}
		previous := file.DataStart()
		for _, tensor := range file.Tensors() {
			require.GreaterOrEqual(t, tensor.Offset, previous)
			previous = tensor.Offset + tensor.Size
			dst := make([]float32, tensor.Rows()*tensor.Cols())
			require.NoError(t, file.ReadFloat32(tensor, dst, 0, tensor.Rows()))
		}
		require.LessOrEqual(t, previous, int64(len(b)))
	})
}
