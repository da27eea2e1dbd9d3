package nf4

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// normals draws n values from N(0, 1).
func normals(seed uint64, n int) []float32 {
	rng := rand.New(rand.NewPCG(seed, 0))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64())
	}
	return x
}

func quantize(x []float32, blockSize int) (packed []byte, absmax []float32) {
	packed, absmax = make([]byte, PackedLen(len(x))), make([]float32, Blocks(len(x), blockSize))
	Quantize(x, blockSize, packed, absmax)
	return packed, absmax
}

func roundTrip(x []float32, blockSize int) []float32 {
	packed, absmax := quantize(x, blockSize)
	out := make([]float32, len(x))
	Dequantize(packed, absmax, blockSize, out)
	return out
}

// slowCode is the definition: how many midpoints lie strictly below v.
func slowCode(v float32) uint32 {
	code := uint32(0)
	for i := range 15 {
		if v > (Codebook[i]+Codebook[i+1])/2 {
			code++
		}
	}
	return code
}

func codeAt(packed []byte, i int) uint32 {
	if i%2 == 0 {
		return uint32(packed[i/2] >> 4)
	}
	return uint32(packed[i/2] & 15)
}

// The definition, again without any of the package's tricks.
func slowQuantize(x []float32, blockSize int) (codes []uint32, absmax []float32) {
	for first := 0; first < len(x); first += blockSize {
		block := x[first:min(first+blockSize, len(x))]
		largest := float32(0)
		for _, v := range block {
			largest = max(largest, float32(math.Abs(float64(v))))
		}
		absmax = append(absmax, largest)
		inv := 1 / largest
		for _, v := range block {
			codes = append(codes, slowCode(float32(v*inv)))
		}
	}
	return codes, absmax
}

func TestCodeOfEqualsDefinition(t *testing.T) {
	check := func(v float32) {
		// five floats to either side of every interesting value
		for range 5 {
			v = math.Nextafter32(v, -2)
		}
		for range 11 {
			require.Equal(t, slowCode(v), codeOf(v), "v = %v", v)
			v = math.Nextafter32(v, 2)
		}
	}
	for i := range 15 {
		check((Codebook[i] + Codebook[i+1]) / 2)
	}
	for i := range 16 {
		check(Codebook[i])
	}
	for i := -16; i <= 16; i++ {
		check(float32(i) / 16)
	}
	for v := float32(-1); v <= 1; v += 1.0 / (1 << 16) {
		if slowCode(v) != codeOf(v) {
			require.Equal(t, slowCode(v), codeOf(v), "v = %v", v)
		}
	}
}

// What Quantize does with the processor's vectors is what quantizeBlock does, at and to both sides of everything where
// a code or a scale changes.
func TestQuantizeIsQuantizeBlock(t *testing.T) {
	var x []float32
	around := func(v float32, steps int) {
		for range steps {
			v = math.Nextafter32(v, -2)
		}
		for range 2*steps + 1 {
			x = append(x, v)
			v = math.Nextafter32(v, 2)
		}
	}
	for i := range 15 {
		around(threshold(i), 50)
	}
	for i := -64; i <= 64; i++ {
		around(float32(i)/64, 5)
	}
	x = append(x, normals(8, 1<<14)...)
	for len(x)%63 != 0 {
		x = append(x, 0)
	}
	var scaled []float32
	// the first value of a block is the largest and leaves the others as they are, or scales them
	for block := 0; len(x) > 0; block++ {
		scale := []float32{1, -1, 0.37, 1e-30, 1e30, 2.9e-39, 0}[block%7]
		scaled = append(scaled, scale)
		for _, v := range x[:63] {
			scaled = append(scaled, v*scale)
		}
		x = x[63:]
	}
	nan, inf := float32(math.NaN()), float32(math.Inf(-1))
	scaled = append(scaled, slices.Concat(slices.Repeat([]float32{1, nan}, 32),
		slices.Repeat([]float32{inf, 1}, 32), slices.Repeat([]float32{nan, inf}, 32))...)
	finite := len(scaled)/64 - 3
	for _, blockSize := range []int{32, 64, 256} {
		packed, absmax := quantize(scaled, blockSize)
		for b, got := range absmax {
			first, end := b*blockSize, min((b+1)*blockSize, len(scaled))
			block := make([]byte, PackedLen(end-first))
			want := quantizeBlock(scaled[first:end], block)
			require.Equal(t, math.Float32bits(want), math.Float32bits(got))
			if end <= 64*finite {
				require.Equal(t, block, packed[first/2:PackedLen(end)], "block %d of %d weights", b, blockSize)
			}
		}
	}
}

func TestTiesTakeTheLowerCode(t *testing.T) {
	for i := range 15 {
		x := make([]float32, 32)
		x[0], x[1] = 1, (Codebook[i]+Codebook[i+1])/2
		packed, absmax := quantize(x, 32)
		require.Equal(t, []float32{1}, absmax)
		require.EqualValues(t, 15, codeAt(packed, 0))
		require.EqualValues(t, i, codeAt(packed, 1))
		x[1] = math.Nextafter32(x[1], 2)
		packed, _ = quantize(x, 32)
		require.EqualValues(t, i+1, codeAt(packed, 1))
	}
}

// A reciprocal multiply and a division round differently: right at a threshold the codes tell which one it was.
func TestScalesByTheReciprocal(t *testing.T) {
	differ := 0
	for i, absmax := range normals(4, 1000) {
		absmax = 1 + float32(math.Abs(float64(absmax)))
		x := make([]float32, 32)
		x[0] = absmax
		for code := range 15 {
			x[code+1] = absmax * (Codebook[code] + Codebook[code+1]) / 2
		}
		packed, _ := quantize(x, 32)
		for j, v := range x {
			require.Equal(t, slowCode(float32(v*(1/absmax))), codeAt(packed, j), "block %d, weight %d", i, j)
			if slowCode(v/absmax) != codeAt(packed, j) {
				differ++
			}
		}
	}
	require.Greater(t, differ, 100)
}

func TestQuantizeEqualsDefinition(t *testing.T) {
	for blockSize := 32; blockSize <= 4096; blockSize *= 2 {
		// short last blocks, odd numbers, fewer weights than a block
		for _, n := range []int{1, 2, 31, blockSize - 1, blockSize, blockSize + 1, 3*blockSize + 7} {
			x := normals(uint64(n), n)
			codes, absmax := slowQuantize(x, blockSize)
			packed, gotAbsmax := quantize(x, blockSize)
			require.Equal(t, absmax, gotAbsmax)
			out := make([]float32, n)
			Dequantize(packed, gotAbsmax, blockSize, out)
			for i := range x {
				require.Equal(t, codes[i], codeAt(packed, i), "block size %d, n %d, weight %d", blockSize, n, i)
				require.Equal(t, Codebook[codes[i]]*absmax[i/blockSize], out[i])
			}
			if n%2 == 1 {
				require.EqualValues(t, zeroCode, packed[len(packed)-1]&15)
			}
		}
	}
}

func TestHighNibbleFirst(t *testing.T) {
	packed, absmax := quantize([]float32{-2, 2, 0.0002, 2 * 0.7229568362236023}, 64)
	require.Equal(t, []byte{0x0f, 0x7e}, packed)
	require.Equal(t, []float32{2}, absmax)
}

func TestZeroAndTinyBlocks(t *testing.T) {
	x := make([]float32, 64)
	for _, tiny := range []float32{0, float32(math.Copysign(0, -1)), math.SmallestNonzeroFloat32, 2.9e-39} {
		x[3], x[4] = tiny, -tiny
		packed, absmax := quantize(x, 64)
		for _, b := range packed {
			require.EqualValues(t, 0x77, b)
		}
		require.Equal(t, []float32{float32(math.Abs(float64(tiny)))}, absmax)
		Dequantize(packed, []float32{0.01}, 64, x) // absmax as double quantization might restore it
		require.Equal(t, make([]float32, 64), x)
	}
	x[0] = 1e-37 // a small block that is still exact
	require.Equal(t, x, roundTrip(x, 64))
	x[0] = math.MaxFloat32
	require.Equal(t, x, roundTrip(x, 64))
}

func TestNonFinite(t *testing.T) {
	x := normals(1, 100)
	require.Equal(t, -1, FirstNonFinite(x))
	require.Equal(t, -1, FirstNonFinite(nil))
	require.Equal(t, -1, FirstNonFinite([]float32{math.MaxFloat32, -math.MaxFloat32}))
	for _, bad := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
		x[70] = float32(bad)
		require.Equal(t, 70, FirstNonFinite(x))
		got := roundTrip(x, 32) // no panic, and the other blocks are untouched
		require.Equal(t, roundTrip(x[:64], 32), got[:64])
		require.Equal(t, roundTrip(x[96:], 32), got[96:])
	}
}

func TestQuantizeParallelGivesTheSameBytes(t *testing.T) {
	for _, blockSize := range []int{32, 64, 4096} {
		for _, n := range []int{1, 64, 1<<17 - 1, 1<<18 + 33} {
			x := normals(uint64(n), n)
			packed, absmax := quantize(x, blockSize)
			gotPacked, gotAbsmax := make([]byte, len(packed)), make([]float32, len(absmax))
			QuantizeParallel(x, blockSize, gotPacked, gotAbsmax)
			require.Equal(t, packed, gotPacked)
			require.Equal(t, absmax, gotAbsmax)
		}
	}
}

// The error bars of bitsandbytes' own tests: mean + 7 sigma over N(0, 1), test_functional.py.
func TestErrorOnNormalWeights(t *testing.T) {
	bars := []struct {
		blockSize            int
		abs, absS, rel, relS float64
	}{
		{32, 0.067746, 0.000069, 0.189726, 0.000304},
		{64, 0.072798, 0.000074, 0.203339, 0.000340},
		{128, 0.076831, 0.000091, 0.215237, 0.000391},
		{256, 0.080337, 0.000102, 0.226105, 0.000398},
		{512, 0.083547, 0.000143, 0.236079, 0.000544},
		{1024, 0.086610, 0.000187, 0.245370, 0.000600},
		{2048, 0.089592, 0.000251, 0.254163, 0.000747},
		{4096, 0.092547, 0.000360, 0.262473, 0.000999},
	}
	x := normals(3, 1<<20)
	for _, bar := range bars {
		got := roundTrip(x, bar.blockSize)
		var abs, rel float64
		for i, v := range x {
			err := math.Abs(float64(got[i] - v))
			abs += err / float64(len(x))
			rel += err / (math.Abs(float64(v)) + 1e-8) / float64(len(x))
		}
		// A better result than bitsandbytes' would be as suspicious as a worse one.
		require.InDelta(t, bar.abs, abs, 7*bar.absS, "block size %d", bar.blockSize)
		require.InDelta(t, bar.rel, rel, 7*bar.relS, "block size %d", bar.blockSize)
	}
}

func TestSizes(t *testing.T) {
	for n := -1; n < 5000; n++ {
		valid := n == 32 || n == 64 || n == 128 || n == 256 || n == 512 || n == 1024 || n == 2048 || n == 4096
		require.Equal(t, valid, ValidBlockSize(n))
	}
	require.Equal(t, []int{0, 1, 1, 2}, []int{PackedLen(0), PackedLen(1), PackedLen(2), PackedLen(3)})
	require.Equal(t, []int{0, 1, 1, 2}, []int{Blocks(0, 64), Blocks(1, 64), Blocks(64, 64), Blocks(65, 64)})
	require.Empty(t, roundTrip(nil, 64))
	require.PanicsWithValue(t, "nf4: Quantize: 64 weights in blocks of 64 need packed[32] and absmax[1], got packed[31] and absmax[1]",
		func() { Quantize(make([]float32, 64), 64, make([]byte, 31), make([]float32, 1)) })
	require.Panics(t, func() { Dequantize(make([]byte, 24), make([]float32, 1), 48, make([]float32, 48)) })
}
