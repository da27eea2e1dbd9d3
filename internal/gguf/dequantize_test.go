package gguf

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// fixture opens a file that tools/make_gguf_fixtures.py wrote with the gguf package, and what that reads in it.
func fixture(t *testing.T, name string) (*File, []byte) {
	r, err := os.Open(filepath.Join("testdata", name+".gguf"))
	require.NoError(t, err)
	t.Cleanup(func() { r.Close() })
	info, err := r.Stat()
	require.NoError(t, err)
	f, err := Read(r, info.Size(), name+".gguf")
	require.NoError(t, err)
	expected, err := os.ReadFile(filepath.Join("testdata", name+".float32"))
	require.NoError(t, err)
	return f, expected
}

// TestDequantize compares every type to the bit with the gguf package's numpy, row by row and as a whole.
func TestDequantize(t *testing.T) {
	f, expected := fixture(t, "types")
	require.Len(t, f.Tensors(), len(layouts), "a type without a tensor in the fixture")
	for _, tensor := range f.Tensors() {
		require.Equal(t, "tensor."+tensor.Type.String(), tensor.Name)
		require.Equal(t, []int{2, 512}, tensor.Shape)
		byRow := make([]float32, 1024)
		require.NoError(t, f.ReadFloat32(tensor, byRow[512:], 1, 1))
		require.NoError(t, f.ReadFloat32(tensor, byRow[:512], 0, 1))
		for i, got := range byRow {
			require.Equal(t, binary.LittleEndian.Uint32(expected[4*i:]), math.Float32bits(got), "%s element %d by row", tensor.Name, i)
		}
		expected = requireBits(t, f, tensor, expected)
	}
	require.Empty(t, expected)
}

// TestDequantizeExtremes does so with scales that are zero, subnormal, as large as can be, infinite, or no number: one
// is none here too, whose bits differ between processors.
func TestDequantizeExtremes(t *testing.T) {
	f, expected := fixture(t, "extremes")
	require.Len(t, f.Tensors(), len(layouts)-2, "all but F32 and BF16, whose elements are taken as they are")
	for _, tensor := range f.Tensors() {
		expected = requireBits(t, f, tensor, expected)
	}
	require.Empty(t, expected)
}

// requireBits compares a tensor with the first elements of what is expected, and returns the others.
func requireBits(t *testing.T, f *File, tensor Tensor, expected []byte) []byte {
	x := make([]float32, tensor.Rows()*tensor.Cols())
	require.NoError(t, f.ReadFloat32(tensor, x, 0, tensor.Rows()))
	for i, got := range x {
		want := binary.LittleEndian.Uint32(expected[4*i:])
		if value := math.Float32frombits(want); value == value || got == got {
			require.Equal(t, want, math.Float32bits(got), "%s element %d: %v, not %v", tensor.Name, i, got, value)
		}
	}
	return expected[4*len(x):]
}

// TestFloat16 checks every binary16 against the definition of the format.
func TestFloat16(t *testing.T) {
	for h := range 1 << 16 {
		exponent, fraction := h>>10&31, float64(h&1023)/1024
		want := math.Ldexp(1+fraction, exponent-15)
		switch exponent {
		case 0:
			want = math.Ldexp(fraction, -14)
		case 31:
			want = math.Inf(1)
			if fraction != 0 {
				want = math.NaN()
			}
		}
		if h>>15 == 1 {
			want = -want
		}
		got := float64(float16([]byte{byte(h), byte(h >> 8)}))
		if want != want {
			require.True(t, got != got, h)
			continue
		}
		require.Equal(t, math.Float64bits(want), math.Float64bits(got), h)
	}
}

func BenchmarkDequantize(b *testing.B) {
	for _, typ := range []Type{F16, BF16, F32, Q4_0, Q4_1, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS, MXFP4} {
		b.Run(typ.String(), func(b *testing.B) {
			l := layouts[typ]
			n := 64 * 256
			src, dst := make([]byte, n/l.elements*l.bytes), make([]float32, n)
			b.SetBytes(int64(4 * n))
			for b.Loop() {
				l.dequantize(dst, src)
			}
		})
	}
}
