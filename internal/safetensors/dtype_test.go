package safetensors

import (
	"encoding/binary"
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestFloat16 checks every binary16 against the definition of the format.
func TestFloat16(t *testing.T) {
	for h := 0; h < 1<<16; h++ {
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
		got := float64(float16(uint16(h)))
		if want != want {
			require.True(t, got != got, h)
			continue
		}
		require.Equal(t, math.Float64bits(want), math.Float64bits(got), h)
	}
}

func TestBFloat16Bytes(t *testing.T) {
	for _, c := range []struct {
		in   uint32 // bits
		want uint16
	}{
		{0x3f800000, 0x3f80}, // 1
		{0x3f808000, 0x3f80}, // half way, even below
		{0x3f818000, 0x3f82}, // half way, odd below
		{0x3f808001, 0x3f81},
		{0x3f807fff, 0x3f80},
		{0xbf818000, 0xbf82},
		{0x00000001, 0x0000},
		{0x80000000, 0x8000},
		{0x7f7fffff, 0x7f80}, // rounds to infinity
		{0x7f800000, 0x7f80},
		{0xff800000, 0xff80},
		{0x7f800001, 0x7fc0}, // NaN whose payload lies in the lost bits
		{0xffffffff, 0xffff},
	} {
		got := binary.LittleEndian.Uint16(BFloat16Bytes([]float32{math.Float32frombits(c.in)}))
		require.Equal(t, c.want, got, "%08x", c.in)
	}
}

func TestFloat32Bytes(t *testing.T) {
	require.Equal(t, []byte{0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0}, Float32Bytes([]float32{1, -2}))
}
