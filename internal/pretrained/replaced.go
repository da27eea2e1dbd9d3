package pretrained

import (
	"crypto/sha256"
	"fmt"
	"io"
	"slices"

	"qlora-wgpu/internal/safetensors"
)

// Replaced is the model with other values in some of its tensors, by name and row-major, as a file would hold them in
// F32. All else is m's: it reads m's files, and closes none. A name or a number of values that m does not have is a bug
// and panics, as is a matrix whose file holds 4 bits. Errors are those of reading m for the content hash.
func (m *Model) Replaced(values map[string][]float32) (*Model, error) {
	other := *m
	other.closers, other.weights = nil, slices.Clone(m.weights)
	for name, v := range values {
		i, ok := m.index[name]
		if !ok || len(v) != m.weights[i].Rows*m.weights[i].Cols || m.weights[i].nf4 != nil {
			panic(fmt.Sprintf("pretrained: %d values for tensor %s of %s", len(v), name, m.path))
		}
		w := &other.weights[i]
		w.kind, w.size = "F32", int64(4*len(v))
		w.readRows = func(first, rows int, dst []float32) error {
			copy(dst, v[first*w.Cols:])
			return nil
		}
		w.readBytes = func(dst []byte, at int64) error {
			copy(dst, safetensors.Float32Bytes(v[at/4 : (at+int64(len(dst))+3)/4])[at%4:])
			return nil
		}
	}
	h := sha256.New()
	io.WriteString(h, "replaced "+m.hash)
	return &other, other.hashTensors(h)
}
