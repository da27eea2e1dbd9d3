package reference

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPCG(t *testing.T) {
	// By hand from the definition: state = 2891336453 = 0xac564b05, shift 10+4, word = (0x2b159 ^ state) * 277803737 mod
	// 2^32.
	state := uint64(2891336453)
	word := (state>>14 ^ state) * 277803737 % (1 << 32)
	require.EqualValues(t, word>>22^word, pcg(0))
	require.EqualValues(t, 129708002, pcg(0))
	// A hash of this family is a bijection; no value repeats.
	seen := map[uint32]bool{}
	for i := range uint32(1 << 16) {
		seen[pcg(i)] = true
	}
	require.Len(t, seen, 1<<16)
}

// keeps is the mask as +1 and -1.
func keeps(key0, key1, n uint32, p float64) []float64 {
	out := make([]float64, n)
	for i := range out {
		out[i] = -1
		if DropoutKeep(key0, key1, uint32(i), DropoutThreshold(p)) {
			out[i] = 1
		}
	}
	return out
}

func correlation(a, b []float64) float64 { return dot(a, b) / float64(len(a)) }

func TestDropoutIsRandom(t *testing.T) {
	const n = 1 << 16
	bound := 5 / math.Sqrt(n) // five standard deviations of a mean of ±1
	for _, p := range []float64{0.05, 0.1, 0.5} {
		for key := range uint32(8) {
			kept := 0.0
			for _, v := range keeps(key, 3, n, p) {
				kept += (v + 1) / 2
			}
			require.InDelta(t, 1-p, kept/n, 5*math.Sqrt(p*(1-p)/n), "p %v, key %d", p, key)
		}
	}
	// No correlation between neighbours at any distance that tensors have, nor between masks of neighbouring keys, even
	// when the elements are exchanged in the way the keys differ.
	base := keeps(7, 9, n, 0.5)
	for _, lag := range []int{1, 2, 3, 4, 8, 16, 64, 576, 1024, 1536, 4096} {
		require.InDelta(t, 0, correlation(base[lag:], base[:n-lag]), 1.2*bound, "lag %d", lag)
	}
	for _, other := range [][2]uint32{{8, 9}, {6, 9}, {7, 8}, {7, 10}, {9, 7}, {6, 8}, {7, 9 + 1<<31}, {7 + 1<<31, 9}} {
		mask := keeps(other[0], other[1], n, 0.5)
		require.InDelta(t, 0, correlation(base, mask), bound, "keys %v", other)
		for bit := range 4 {
			exchanged := make([]float64, n)
			for i := range exchanged {
				exchanged[i] = mask[i^1<<bit]
			}
			require.InDelta(t, 0, correlation(base, exchanged), bound, "keys %v, bit %d", other, bit)
		}
	}
	require.Equal(t, base, keeps(7, 9, n, 0.5))
}

func TestDropout(t *testing.T) {
	require.EqualValues(t, 0, DropoutThreshold(0))
	require.EqualValues(t, 1<<23, DropoutThreshold(0.5))
	require.EqualValues(t, 1677722, DropoutThreshold(0.1)) // 0.1 * 2^24 = 1677721.6
	x := random(1, 1000)
	y, _ := Dropout(x, 1, 2, 0)
	require.Equal(t, x, y)
	y, mask := Dropout(x, 1, 2, 0.2)
	dropped := 0
	for i := range x {
		if mask[i] == 0 {
			dropped++
			require.Zero(t, y[i])
		} else {
			require.Equal(t, x[i]*1.25, y[i])
		}
	}
	require.InDelta(t, 200, dropped, 60)
}
