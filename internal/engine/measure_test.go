package engine

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// Three layers take 10 s where one takes 4: 3 s a layer, and 1 s for what surrounds them. The update is the layers'
// alone.
func TestLayersThatAreNotThere(t *testing.T) {
	whole := Times{MicroBatch: 10, Update: 3, Row: 5, Prompt: 2, Token: 0.5}
	first := Times{MicroBatch: 4, Row: 3, Prompt: 2.5, Token: 0.1}
	got := whole.over(first, 3, 30)
	require.InDelta(t, 91, got.MicroBatch, 1e-9)
	require.InDelta(t, 30, got.Update, 1e-9)
	require.InDelta(t, 32, got.Row, 1e-9)
	require.InDelta(t, 2, got.Prompt, 1e-9, "more layers never take less")
	require.InDelta(t, 5.9, got.Token, 1e-9)
}
