package doublequant

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func sha(t *testing.T, values any) string {
	t.Helper()
	data, err := binary.Append(nil, binary.LittleEndian, values)
	require.NoError(t, err)
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

func TestDynamicMaps(t *testing.T) {
	require.Equal(t, "e732639a65f497b4ad684bb166a4467708255edd5207757de8b8f0c7e1fda89c", sha(t, SignedMap))
	require.Equal(t, "305f002cc11278fb769d13b25b9fd0c7c83c8402c40a878fe086f4039fde6398", sha(t, UnsignedMap))
	require.True(t, slices.IsSorted(SignedMap[:]))
	require.Equal(t, []float32{-0.992968738079071, 0, 1}, []float32{SignedMap[0], SignedMap[127], SignedMap[255]})
}

// nearest must return an entry than which none is nearer, apart from float32 rounding of the midpoints.
func TestNearest(t *testing.T) {
	distance := func(code int, x float32) float64 { return math.Abs(float64(SignedMap[code]) - float64(x)) }
	check := func(x float32) {
		got := distance(int(nearest(x)), x)
		for i := range SignedMap {
			if distance(i, x) < got-3e-7*math.Abs(float64(x)) {
				require.Failf(t, "not the nearest", "x = %v: code %d, %d is nearer", x, nearest(x), i)
			}
		}
	}
	for i, v := range SignedMap {
		require.EqualValues(t, i, nearest(v))
		if i < 255 {
			middle := (v + SignedMap[i+1]) / 2
			for _, x := range []float32{math.Nextafter32(middle, -2), middle, math.Nextafter32(middle, 2)} {
				check(x)
				require.Contains(t, []byte{byte(i), byte(i + 1)}, nearest(x))
			}
		}
	}
	for x := float32(-1); x <= 1; x += 1.0 / 4096 {
		check(x)
	}
	require.EqualValues(t, 0, nearest(-1))
	// Ties, by hand: the search for a value just above zero ends on entry 128 and keeps it; below zero it ends on 126.
	require.EqualValues(t, 128, nearest(SignedMap[128]/2))
	require.EqualValues(t, 126, nearest(SignedMap[126]/2))
}

// The table gives what the kernel's search gives, for every kind of number and to both sides of every place where
// something changes.
func TestNearestIsTheSearch(t *testing.T) {
	check := func(x float32) {
		for _, x := range []float32{math.Nextafter32(x, -2), x, math.Nextafter32(x, 2)} {
			if nearest(x) != search(x) {
				require.Equal(t, search(x), nearest(x), "x = %v", x)
			}
		}
	}
	for i, v := range SignedMap {
		check(v)
		check(midpoints[i])
	}
	for cell := range lowest {
		check(math.Float32frombits(uint32(cell) << cellShift)) // zeros, infinities and NaN are among them
		check(math.Float32frombits(uint32(cell)<<cellShift | 1<<cellShift - 1))
	}
	rng := rand.New(rand.NewPCG(6, 0))
	for range 1 << 18 {
		check(float32(2*rng.Float64() - 1))
		check(math.Float32frombits(rng.Uint32()))
	}
}

func BenchmarkQuantize(b *testing.B) {
	rng := rand.New(rand.NewPCG(7, 0))
	x := make([]float32, 1<<16)
	for i := range x {
		x[i] = 2 + float32(rng.NormFloat64())/4
	}
	b.SetBytes(int64(4 * len(x)))
	for b.Loop() {
		Quantize(x)
	}
}

func TestQuantizeByHand(t *testing.T) {
	// mean 2; differences -1, 0, 1 scale to themselves
	s := Quantize([]float32{1, 2, 3})
	require.Equal(t, State{Codes: []byte{0, 127, 255}, Nested: []float32{1}, Offset: 2}, s)
	out := make([]float32, 3)
	s.Dequantize(out)
	require.Equal(t, []float32{float32(-0.992968738079071) + 2, 2, 3}, out)

	// Equal values, and so a single block, are restored exactly.
	for _, n := range []int{1, 300} {
		s = Quantize(slices.Repeat([]float32{0.37}, n))
		out = make([]float32, n)
		s.Dequantize(out)
		require.Equal(t, slices.Repeat([]float32{0.37}, n), out)
		require.Equal(t, make([]byte, n), s.Codes)
	}
	require.Equal(t, State{Codes: []byte{}, Nested: []float32{}}, Quantize(nil))
	require.Panics(t, func() { s.Dequantize(make([]float32, 299)) })
}

// The product must be rounded before the sum: with these numbers a fused multiply-add differs.
func TestDequantizeRoundsTheProduct(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 0))
	s := State{Codes: make([]byte, 1000), Nested: []float32{0.0123456, 0.0345678, 0.078901, 0.11111}, Offset: 0.0517}
	for i := range s.Codes {
		s.Codes[i] = byte(rng.Uint32())
	}
	out := make([]float32, len(s.Codes))
	s.Dequantize(out)
	fusedDiffers := 0
	for i, code := range s.Codes {
		product := float64(SignedMap[code]) * float64(s.Nested[i/256]) // exact
		require.Equal(t, float32(float64(float32(product))+float64(s.Offset)), out[i])
		if float32(product+float64(s.Offset)) != out[i] {
			fusedDiffers++
		}
	}
	require.Positive(t, fusedDiffers)
}

// bitsandbytes' bars for block-wise 8-bit dynamic quantization of N(0, 1): abs < 0.011, rel < 0.018.
func TestErrorOnNormalValues(t *testing.T) {
	rng := rand.New(rand.NewPCG(9, 0))
	x := make([]float32, 1<<18)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	s := Quantize(x)
	out := make([]float32, len(x))
	s.Dequantize(out)
	var abs, rel float64
	for i, v := range x {
		err := math.Abs(float64(out[i] - v))
		abs += err / float64(len(x))
		rel += err / (math.Abs(float64(v)) + 1e-8) / float64(len(x))
	}
	require.Less(t, abs, 0.011)
	require.Greater(t, abs, 0.005)
	require.Less(t, rel, 0.018)
}
