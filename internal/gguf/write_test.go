package gguf

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// everyKind is a value of each type, as a scalar and as an array, and how gguf-py prints it.
var everyKind = []struct {
	value  any
	python string
}{
	{uint8(200), "200"}, {int8(-3), "-3"}, {uint16(60000), "60000"}, {int16(-300), "-300"}, {uint32(4e9), "4000000000"},
	{int32(-70000), "-70000"}, {uint64(1 << 63), "9223372036854775808"}, {int64(-1 << 63), "-9223372036854775808"},
	{float32(0.5), "0.5"}, {0.1, "0.1"}, {true, "True"}, {false, "False"}, {"grüße\x00", `'grüße\x00'`}, {"", "''"},
	{[]uint8{1, 2}, "[1, 2]"}, {[]int8{-1}, "[-1]"}, {[]uint16{9}, "[9]"}, {[]int16{-9}, "[-9]"}, {[]uint32{7, 8}, "[7, 8]"},
	{[]int32{1, -1, 3}, "[1, -1, 3]"}, {[]uint64{5}, "[5]"}, {[]int64{-5}, "[-5]"}, {[]float32{0.25, -2}, "[0.25, -2.0]"},
	{[]float64{0.3}, "[0.3]"}, {[]bool{true, false}, "[True, False]"}, {[]string{"a", "", "ĠÑ"}, "['a', '', 'ĠÑ']"},
}

// written makes a file of all kinds of metadata and of tensors whose bytes count up, in pieces of the given length.
func written(t *testing.T, piece int) ([]byte, []Tensor) {
	pairs := []Pair{{"general.architecture", "llama"}}
	for i, c := range everyKind {
		pairs = append(pairs, Pair{fmt.Sprintf("test.%d", i), c.value})
	}
	tensors := []Tensor{
		{Name: "scalar", Type: F32, Shape: []int{}},
		{Name: "matrix", Type: Q4_K, Shape: []int{3, 512}},
		{Name: "cube", Type: F16, Shape: []int{2, 2, 3}},
		{Name: "last", Type: Q8_0, Shape: []int{32}},
	}
	var out bytes.Buffer
	w, err := NewWriter(&out, pairs, tensors)
	require.NoError(t, err)
	for _, tensor := range tensors {
		b := counting(tensor)
		for len(b) > 0 {
			n := min(piece, len(b))
			require.NoError(t, w.Write(tensor.Name, b[:n]))
			b = b[n:]
		}
	}
	require.NoError(t, w.Close())
	require.Equal(t, int64(out.Len()), w.Size())
	return out.Bytes(), tensors
}

func counting(t Tensor) []byte {
	b := make([]byte, t.Rows()*t.Type.RowSize(t.Cols()))
	for i := range b {
		b[i] = byte(i%50 + 1)
	}
	return b
}

func TestWrite(t *testing.T) {
	b, tensors := written(t, 1<<20)
	again, _ := written(t, 7)
	require.Equal(t, b, again, "pieces decide")
	f, err := Read(bytes.NewReader(b), int64(len(b)), "m")
	require.NoError(t, err)
	require.Len(t, f.metadata, len(everyKind)+1)
	for i, c := range everyKind {
		v := f.metadata[fmt.Sprintf("test.%d", i)]
		key, want := fmt.Sprintf("test.%d", i), fmt.Sprint(c.value)
		var got any
		var err error
		switch {
		case v.array && v.kind == kindString:
			got, _, err = f.Strings(key)
		case v.kind == kindString:
			got, _, err = f.String(key)
		case v.array && v.kind == kindFloat32:
			got, _, err = f.Floats(key)
		case v.array && isInteger(v.kind):
			got, _, err = f.Ints(key)
		case v.kind == kindBool && !v.array:
			got, _, err = f.Bool(key)
		case v.kind == kindUint64 && !v.array, v.array: // no getter takes them
			continue
		case isInteger(v.kind):
			got, _, err = f.Int(key)
		default:
			got, _, err = f.Float(key)
		}
		require.NoError(t, err)
		require.Equal(t, want, fmt.Sprint(got), key)
	}
	for i, got := range f.Tensors() {
		require.Equal(t, tensors[i], Tensor{Name: got.Name, Type: got.Type, Shape: got.Shape})
		require.Zero(t, got.Offset%32)
		raw := make([]byte, got.Size)
		require.NoError(t, f.ReadBytes(got, raw, 0))
		require.Equal(t, counting(got), raw)
	}
}

// TestWriteAgain writes what the gguf package wrote, of a file in its default alignment.
func TestWriteAgain(t *testing.T) {
	theirs, err := os.ReadFile(filepath.Join("testdata", "extremes.gguf"))
	require.NoError(t, err)
	f, _ := fixture(t, "extremes")
	var out bytes.Buffer
	w, err := NewWriter(&out, []Pair{{"general.architecture", "llama"}}, f.Tensors())
	require.NoError(t, err)
	for _, tensor := range f.Tensors() {
		b := make([]byte, tensor.Size)
		require.NoError(t, f.ReadBytes(tensor, b, 0))
		require.NoError(t, w.Write(tensor.Name, b))
	}
	require.NoError(t, w.Close())
	require.True(t, bytes.Equal(theirs, out.Bytes()), "our bytes differ from those of the gguf package")
}

// TestWriteForPython reads a file with the gguf package, where QLORA_GGUF_PYTHON names a Python that has it.
func TestWriteForPython(t *testing.T) {
	python := os.Getenv("QLORA_GGUF_PYTHON")
	if python == "" {
		t.Skip("QLORA_GGUF_PYTHON is not set: make test-gguf")
	}
	b, tensors := written(t, 100)
	path := filepath.Join(t.TempDir(), "m.gguf")
	require.NoError(t, os.WriteFile(path, b, 0o600))
	got, err := exec.Command(python, "../../tools/gguf_test/read.py", path).CombinedOutput()
	require.NoError(t, err, string(got))
	want := []string{"general.architecture 'llama'"}
	for i, c := range everyKind {
		want = append(want, fmt.Sprintf("test.%d %s", i, c.python))
	}
	for _, tensor := range tensors {
		sum := 0
		for _, b := range counting(tensor) {
			sum += int(b)
		}
		ne := []string{}
		for i := range tensor.Shape {
			ne = append(ne, fmt.Sprint(tensor.Shape[len(tensor.Shape)-1-i]))
		}
		want = append(want, fmt.Sprintf("%s %v [%s] %d", tensor.Name, tensor.Type, strings.Join(ne, ", "), sum))
	}
	require.Equal(t, want, strings.Split(strings.TrimSpace(string(got)), "\n"))
}

func TestWriteEmpty(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, nil, nil)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	require.Equal(t, w.Size(), int64(out.Len()))
	f, err := Read(bytes.NewReader(out.Bytes()), w.Size(), "m")
	require.NoError(t, err)
	require.Empty(t, f.Tensors())
}

func TestWriteRefuses(t *testing.T) {
	long := strings.Repeat("x", maxString)
	for want, p := range map[string][]Pair{
		"metadata k: a string has 16777217 bytes, the limit is 16777216": {{"k", long + "x"}},
		"metadata k: 67108865 elements, the limit is 67108864":           {{"k", make([]bool, maxArray+1)}},
	} {
		_, err := NewWriter(nil, p, nil)
		require.EqualError(t, err, want)
	}
	for name, f := range map[string]func(){
		"type of metadata":   func() { _, _ = NewWriter(nil, []Pair{{"k", 1}}, nil) },
		"nested array":       func() { _, _ = NewWriter(nil, []Pair{{"k", [][]string{}}}, nil) },
		"empty key":          func() { _, _ = NewWriter(nil, []Pair{{"", "v"}}, nil) },
		"key there twice":    func() { _, _ = NewWriter(nil, []Pair{{"k", "v"}, {"k", "v"}}, nil) },
		"alignment":          func() { _, _ = NewWriter(nil, []Pair{{"general.alignment", uint32(64)}}, nil) },
		"name there twice":   func() { newWriter(Tensor{Name: "a", Type: F32}, Tensor{Name: "a", Type: F32}) },
		"long name":          func() { newWriter(Tensor{Name: strings.Repeat("n", 64), Type: F32}) },
		"five dimensions":    func() { newWriter(Tensor{Name: "a", Type: F32, Shape: []int{1, 1, 1, 1, 1}}) },
		"no rows":            func() { newWriter(Tensor{Name: "a", Type: F32, Shape: []int{0, 4}}) },
		"half a block":       func() { newWriter(Tensor{Name: "a", Type: Q4_K, Shape: []int{4, 128}}) },
		"type":               func() { newWriter(Tensor{Name: "a", Type: 999, Shape: []int{256}}) },
		"another tensor":     func() { _ = newWriter(Tensor{Name: "a", Type: F32}).Write("b", make([]byte, 4)) },
		"too many bytes":     func() { _ = newWriter(Tensor{Name: "a", Type: F32}).Write("a", make([]byte, 5)) },
		"nothing left":       func() { _ = newWriter().Write("a", nil) },
		"a tensor missing":   func() { _ = newWriter(Tensor{Name: "a", Type: F32}).Close() },
		"a tensor too short": func() { w := newWriter(Tensor{Name: "a", Type: F32}); _ = w.Write("a", []byte{1}); _ = w.Close() },
	} {
		require.Panics(t, f, name)
	}
}

func newWriter(tensors ...Tensor) *Writer {
	w, _ := NewWriter(new(bytes.Buffer), nil, tensors)
	return w
}

// full takes n bytes and then none.
type full struct{ n int }

var errFull = errors.New("no space left")

func (f *full) Write(b []byte) (int, error) {
	if f.n -= len(b); f.n < 0 {
		return len(b) + f.n, errFull
	}
	return len(b), nil
}

func TestWriteToFullDisk(t *testing.T) {
	size := newWriter(Tensor{Name: "a", Type: F32}).Size()
	for room := range int(size) {
		w, err := NewWriter(&full{room}, nil, []Tensor{{Name: "a", Type: F32}})
		require.NoError(t, err)
		require.ErrorIs(t, w.Write("a", make([]byte, 4)), errFull, room)
	}
}
