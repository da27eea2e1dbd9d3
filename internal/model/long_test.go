//go:build !js

package model_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/reference"
)

// A cache that grows over the original context is computed anew with the other rotation: half of it would be wrong.
func TestGenerationBeyondTheOriginalContextRotatesAllAnew(t *testing.T) {
	w := open(t, phi3, nil)
	const original = 10
	in := reference.Segments([][]uint32{packed.IDs[:14]}, [][]int32{packed.Targets[:14]})
	require.True(t, w.model.SameRotation(3, original))
	require.False(t, w.model.SameRotation(original, original+1))
	require.True(t, w.model.SameRotation(original+1, 14))
	cache, err := w.model.NewCache(len(in.IDs), len(in.IDs))
	require.NoError(t, err)
	defer cache.Release()
	for _, until := range []int{6, original, 12, 14} {
		prefix := reference.Segments([][]uint32{in.IDs[:until]}, [][]int32{in.Targets[:until]})
		want := w.float64.Logits(prefix, nil)
		if !w.model.SameRotation(cache.Length(), until) {
			cache.Rewind(0)
		}
		got := w.logits(in.IDs[cache.Length():until], cache)
		require.Less(t, reference.NMSE(got, want[(until-1)*phi3.Vocab:until*phi3.Vocab]), exact.logits, "up to %d", until)
	}
}
