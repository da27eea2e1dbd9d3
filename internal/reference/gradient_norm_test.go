package reference

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestGradientNorm(t *testing.T) {
	require.InDelta(t, 2.5, GradientNorm([]float64{3, -4, 0}, 0.5), 1e-15)
	require.Equal(t, 1.0, ClipCoefficient(0.1, 0.3))
	require.Equal(t, 1.0, ClipCoefficient(0, 0.3))
	require.InDelta(t, 0.3/(2.5+1e-6), ClipCoefficient(2.5, 0.3), 1e-15)
	require.Less(t, ClipCoefficient(0.3, 0.3), 1.0) // torch's 1e-6 shrinks even a gradient right at the limit
}
