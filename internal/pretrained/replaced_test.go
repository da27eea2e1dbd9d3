//go:build !js

package pretrained

import (
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/safetensors"
)

// A model with replaced values has these by rows and as bytes, and what was not replaced as before; it is another model
// by hash and digest, and as much another one for another value.
func TestReplaced(t *testing.T) {
	shape := spec.Spec{Family: "LlamaForCausalLM", Hidden: 8, Vocab: 16, MaxPositions: 8, Layers: layers(1, 2, 1, 4, 12, false)}
	m := Made("made", shape, func(_ spec.Tensor, first int, dst []float32) {
		for i := range dst {
			dst[i] = float32(first + i)
		}
	})
	for i := range m.weights {
		m.weights[i].readBytes = func([]byte, int64) error { return nil }
	}
	const down, up = "model.layers.0.mlp.down_proj.weight", "model.layers.0.mlp.up_proj.weight"
	values := make([]float32, 8*12)
	for i := range values {
		values[i] = -float32(i)
	}
	other, err := m.Replaced(map[string][]float32{down: values})
	require.NoError(t, err)
	rows := make([]float32, 3*12)
	require.NoError(t, other.ReadRows(down, 2, 3, rows))
	require.Equal(t, values[2*12:5*12], rows)
	require.NoError(t, m.ReadRows(down, 2, 3, rows))
	require.EqualValues(t, 37, rows[35])
	rows = rows[:16]
	require.NoError(t, other.ReadRows(up, 3, 2, rows))
	require.EqualValues(t, 3, rows[0])

	raw := make([]byte, 21)
	w := other.weights[other.index[down]]
	require.NoError(t, w.readBytes(raw, 34))
	require.Equal(t, safetensors.Float32Bytes(values)[34:55], raw)
	require.EqualValues(t, 4*len(values), w.size)
	require.Equal(t, "F32", other.Type(down))

	values[0] = 7
	third, err := m.Replaced(map[string][]float32{down: values})
	require.NoError(t, err)
	hashes := []string{m.ContentHash(), other.ContentHash(), third.ContentHash()}
	require.NotEqual(t, hashes[0], hashes[1])
	require.NotEqual(t, hashes[1], hashes[2])
	require.Panics(t, func() { _, _ = m.Replaced(map[string][]float32{down: values[1:]}) })
	require.Panics(t, func() { _, _ = m.Replaced(map[string][]float32{"absent": nil}) })
	require.NoError(t, other.Close())
}
