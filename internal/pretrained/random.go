package pretrained

import (
	"hash/fnv"
	"math"
	"math/rand/v2"

	"qlora-wgpu/internal/model/spec"
)

// Random is a model of the given shape with random weights and no tokenizer: what is measured with it (memory, speed)
// does not depend on the values. The same tensor is the same on every machine.
func Random(name string, shape spec.Spec) *Model { return Made(name, shape, fillRandom) }

// Made is a model whose tensors fill makes: rows of t from the first on, row-major, into dst. It has no tokenizer and
// no file.
func Made(name string, shape spec.Spec, fill func(t spec.Tensor, first int, dst []float32)) *Model {
	m, _ := newModel(name)
	m.Spec, m.Tokens = shape, noTokens
	m.hash = "made " + name
	for _, t := range shape.Tensors() {
		m.index[t.Name] = len(m.weights)
		m.weights = append(m.weights, weight{
			Tensor: Tensor{t.Name, t.Rows, t.Cols}, file: m.path, kind: "F32",
			readRows: func(first, rows int, dst []float32) error {
				fill(t, first, dst)
				return nil
			},
		})
	}
	return m
}

// fillRandom gives each row numbers of its own, uniform and scaled so that a product with the matrix keeps the size of
// its input. A norm's weight is 1.
func fillRandom(t spec.Tensor, first int, dst []float32) {
	if t.Role == spec.Vector {
		for i := range dst {
			dst[i] = 1
		}
		return
	}
	h := fnv.New64a()
	h.Write([]byte(t.Name))
	scale := float32(math.Sqrt(3/float64(t.Cols)) / (1 << 31))
	for row := 0; row*t.Cols < len(dst); row++ {
		rng := rand.New(rand.NewPCG(h.Sum64(), uint64(first+row)))
		values := dst[row*t.Cols : (row+1)*t.Cols]
		for i := 0; i < len(values); i += 2 {
			bits := rng.Uint64()
			values[i] = float32(int32(bits)) * scale
			if i+1 < len(values) {
				values[i+1] = float32(int32(bits>>32)) * scale
			}
		}
	}
}
