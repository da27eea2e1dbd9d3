package convert

import (
	"encoding/binary"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/require"
)

// nearest is the multiple of a power of two that is nearest to a value, an even one in the middle: the rounding of a
// type with so many bits behind the leading one and this least exponent.
func nearest(v float64, bits, least int) float64 {
	if v == 0 {
		return v
	}
	_, exponent := math.Frexp(v)
	step := max(exponent-1, least) - bits
	scaled := new(big.Float).SetPrec(200).SetMantExp(big.NewFloat(math.Abs(v)), -step)
	whole, _ := scaled.Int(nil)
	rest := new(big.Float).SetPrec(200).Sub(scaled, new(big.Float).SetPrec(200).SetInt(whole))
	if c := rest.Cmp(big.NewFloat(0.5)); c > 0 || c == 0 && whole.Bit(0) == 1 {
		whole.Add(whole, big.NewInt(1))
	}
	out, _ := new(big.Float).SetMantExp(new(big.Float).SetInt(whole), step).Float64()
	return math.Copysign(out, v)
}

func float16(bits uint16) float64 {
	exponent, fraction := int(bits>>10&31), float64(bits&1023)/1024
	v := math.Ldexp(1+fraction, exponent-15)
	if exponent == 0 {
		v = math.Ldexp(fraction, -14)
	}
	return math.Copysign(v, float64(int16(bits)))
}

// Values that lie in the middle of two once they are rounded to float32 are those that rounding twice gets wrong.
func TestValuesAreRoundedOnce(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 0))
	twice := 0
	for range 200_000 {
		v := math.Ldexp(rng.Float64()+0.5, rng.IntN(40)-28)
		if rng.IntN(2) == 0 { // near the middle of two float16 or bfloat16
			kept := uint64(1) << (52 - [2]int{10, 7}[rng.IntN(2)])
			v = math.Float64frombits(math.Float64bits(v)&^(kept-1) | kept/2)
			v += math.Ldexp(v, -40-rng.IntN(12)) * float64(rng.IntN(3)-1)
		}
		if rng.IntN(2) == 0 {
			v = -v
		}
		require.Equal(t, nearest(v, 7, -126), float64(toBFloat16(v)), "%x", v)
		if float64(toBFloat16(v)) != float64(toBFloat16(float64(float32(v)))) {
			twice++
		}
		if math.Abs(v) < 65519 {
			require.Equal(t, nearest(v, 10, -14), float16(float16Bits(v)), "%x", v)
		}
	}
	require.Positive(t, twice, "no value told one rounding from two")
	for _, v := range []float64{0, 0x1p-24, 0x1p-25, 0x1.8p-25, 0x1.ffcp-15, 0x1.ffep-15, 0x1.fffp-15, 65504, 65519.99} {
		require.Equal(t, nearest(v, 10, -14), float16(float16Bits(v)), "%x", v)
		require.Equal(t, -nearest(v, 10, -14), float16(float16Bits(-v)), "%x", v)
	}
}

func TestWhatATypeCannotHoldIsNamed(t *testing.T) {
	for _, c := range []struct {
		to     Type
		values []float64
		at     int
	}{
		{F16, []float64{1, 65519.9, 65520}, 2}, {F16, []float64{-70000, 1}, 0}, {F16, []float64{math.NaN()}, 0},
		{F16, []float64{65504}, -1},
		{BF16, []float64{65520, 3.39e38}, -1}, {BF16, []float64{0, 3.4e38}, 1}, {BF16, []float64{math.Inf(-1)}, 0},
		{BF16, []float64{math.NaN()}, 0},
		{F32, []float64{3.4e38, -3.5e38}, 1}, {F32, []float64{math.NaN()}, 0},
	} {
		dst := make([]byte, 8*len(c.values))
		require.Equal(t, c.at, c.to.put(dst, c.values), "%v %v", c.to, c.values)
	}
	dst := make([]byte, 4)
	require.Equal(t, -1, F32.put(dst, []float64{-1.5}))
	require.Equal(t, math.Float32bits(-1.5), binary.LittleEndian.Uint32(dst))
}
