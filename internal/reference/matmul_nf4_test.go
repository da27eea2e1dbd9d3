package reference

import (
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/doublequant"
	"qlora-wgpu/nf4"
)

func TestNF4WeightByHand(t *testing.T) {
	// Codes 0, 15, 7, 8 in a block with absmax 127's zero * nested + offset = 0.5.
	w := NF4Weight{Packed: []byte{0x0f, 0x78}, BlockSize: 32,
		Nested: doublequant.State{Codes: []byte{127}, Nested: []float32{3}, Offset: 0.5}}
	require.Equal(t, []float64{-0.5, 0.5, 0, float64(nf4.Codebook[8]) / 2}, w.Dequantize(4))
	w = NF4Weight{Packed: []byte{0x0f, 0x78}, BlockSize: 32, Absmax: []float32{2}}
	require.Equal(t, []float64{-2, 2, 0, float64(nf4.Codebook[8]) * 2}, w.Dequantize(4))
}

func TestNF4QuantizeKeepsTheWeights(t *testing.T) {
	const n, k = 24, 40
	wide := random(1, n*k)
	w := make([]float32, n*k)
	for i, v := range wide {
		w[i] = float32(v)
	}
	for _, blockSize := range []int{32, 64, 4096} {
		stored := NF4Quantize(w, blockSize)
		// 4-bit codes of normal weights: NMSE about 0.008 to 0.013, growing with the block.
		nmse := NMSE(stored.Dequantize(n*k), wide)
		require.Greater(t, nmse, 0.004)
		require.Less(t, nmse, 0.025)
	}
}
