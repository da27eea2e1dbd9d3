package pretrained

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/usererr"
)

// FuzzParts attacks the parts of a split GGUF: what is taken is one model, whichever part is given.
func FuzzParts(f *testing.F) {
	pairs, tensors := small()
	folder := inParts(f, pairs, tensors[:4], nil)
	f.Add(folder[partOf(0, 2)], folder[partOf(1, 2)])
	f.Add(folder[partOf(1, 2)], folder[partOf(0, 2)])
	f.Fuzz(func(t *testing.T, first, second []byte) {
		folder, hash := memory{partOf(0, 2): first, partOf(1, 2): second}, ""
		for i := range 2 {
			m, err := openIn(folder, partOf(i, 2))
			if err != nil {
				require.IsType(t, &usererr.Error{}, err)
				continue
			}
			if len(m.closers) == 2 { // none of them is a whole model
				require.Contains(t, []string{"", m.ContentHash()}, hash)
				hash = m.ContentHash()
			}
			readAll(t, m)
		}
	})
}

// FuzzQuantized attacks a folder that holds bitsandbytes' NF4: what is taken decodes to numbers by its blocks, and its
// rows are those of the whole.
func FuzzQuantized(f *testing.F) {
	for _, double := range []bool{true, false} {
		tensors, _ := stored(f, "w", 4, 24, 32, double)
		f.Add(file(f, tensors))
	}
	f.Fuzz(func(t *testing.T, weights []byte) {
		m, err := OpenFolder(memory{"config.json": []byte(fourBit), "model.safetensors": weights}, "m")
		if err != nil {
			require.IsType(t, &usererr.Error{}, err)
			return
		}
		readAll(t, m)
		for name, q := range m.Spec.Quantized {
			held := m.Quantized(name)
			if held == nil {
				continue // another matrix's
			}
			state, absmax, err := held.ReadAbsmax()
			require.NoError(t, err)
			require.Equal(t, q.Double, state != nil)
			require.Equal(t, !q.Double, absmax != nil)
		}
	})
}

// readAll reads every tensor, and its rows one by one.
func readAll(t *testing.T, m *Model) {
	for _, tensor := range m.Tensors() {
		whole, row := make([]float32, tensor.Rows*tensor.Cols), make([]float32, tensor.Cols)
		if err := m.ReadRows(tensor.Name, 0, tensor.Rows, whole); err != nil {
			require.IsType(t, &usererr.Error{}, err) // no type of weights
			continue
		}
		for i := range min(tensor.Rows, 4) {
			require.NoError(t, m.ReadRows(tensor.Name, i, 1, row))
			for j, x := range row {
				require.Equal(t, math.Float32bits(whole[i*tensor.Cols+j]), math.Float32bits(x), tensor.Name)
			}
		}
	}
	require.NoError(t, m.Close())
}
