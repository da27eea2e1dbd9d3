package reference

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGatherAndScatterRows(t *testing.T) {
	x := []float64{1, 2, 3, 4, 5, 6}
	require.Equal(t, []float64{5, 6, 1, 2, 5, 6}, GatherRows(x, 2, []uint32{2, 0, 2}))
	require.Equal(t, []float64{5, 6, 1, 2}, EmbeddingForward([]uint32{2, 0}, x, 2))
	require.Equal(t, []float64{0, 0, 3, 4, 0, 0, 1, 2}, ScatterRows(x[:4], 2, []uint32{3, 1}, 4))
	require.Panics(t, func() { ScatterRows(x[:4], 2, []uint32{1, 1}, 4) })
	require.Panics(t, func() { GatherRows(x, 2, []uint32{3}) })

	// Scatter is the backward of gather.
	x, dy, index := random(1, 5*3), random(2, 3*3), []uint32{4, 0, 2}
	requireGradient(t, ScatterRows(dy, 3, index, 5), x, func() float64 { return dot(dy, GatherRows(x, 3, index)) })
}

func TestResidualAdd(t *testing.T) {
	require.Equal(t, []float64{4, -1}, ResidualAdd([]float64{1, 2}, []float64{3, -3}))
}

func TestNMSE(t *testing.T) {
	require.Equal(t, 0.0, NMSE([]float64{3, 4}, []float64{3, 4}))
	require.Equal(t, 0.04, NMSE([]float64{3, 5}, []float64{3, 4}))
	require.Equal(t, 1.0, NMSE([]float64{0, 0}, []float64{3, 4}))
	require.Equal(t, 0.0, NMSE([]float64{0}, []float64{0}))
	require.Equal(t, math.Inf(1), NMSE([]float64{1}, []float64{0}))
	require.True(t, math.IsNaN(NMSE([]float64{math.NaN(), 4}, []float64{3, 4})))
	require.Panics(t, func() { NMSE([]float64{1}, []float64{1, 2}) })
}
