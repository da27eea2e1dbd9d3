//go:build !js

package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"runtime"

	"golang.org/x/sync/errgroup"

	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/safetensors"
)

// matrix is a weight of a network.
type matrix struct {
	name string
	n    int
	read func(dst []float32) error
}

// weights are matrices with a name for tables.
type weights struct {
	name     string
	matrices []matrix
}

// normals are weights as QLoRA assumes them: drawn from a normal distribution.
func normals(n int) weights {
	return weights{"normal distribution", []matrix{{"normals", n, func(dst []float32) error {
		rng := rand.New(rand.NewPCG(1, 0))
		for i := range dst {
			dst[i] = float32(rng.NormFloat64())
		}
		return nil
	}}}}
}

// linears are the matrices of a model's layers, which QLoRA quantizes.
func linears(name string, m *pretrained.Model) weights {
	w := weights{name: name}
	for _, t := range m.Spec.Tensors() {
		if t.Role == spec.Matrix {
			w.matrices = append(w.matrices, matrix{t.Name, t.Rows * t.Cols, func(dst []float32) error {
				return m.ReadRows(t.Name, 0, t.Rows, dst)
			}})
		}
	}
	return w
}

// stored are the matrices of a safetensors file, but for those whose rows are looked up, of any architecture.
func stored(name string, f *os.File, embeddings string) (weights, error) {
	info, err := f.Stat()
	if err != nil {
		return weights{}, err
	}
	file, err := safetensors.Read(f, info.Size(), f.Name())
	if err != nil {
		return weights{}, err
	}
	w := weights{name: name}
	for _, t := range file.Tensors() {
		if len(t.Shape) == 2 && t.DType.Floats() && len(t.Name) > len(embeddings) && t.Name[:len(embeddings)] != embeddings {
			w.matrices = append(w.matrices, matrix{t.Name, t.Elements(), func(dst []float32) error { return file.ReadFloat32(t, dst, 0) }})
		}
	}
	if len(w.matrices) == 0 {
		return weights{}, fmt.Errorf("%s has no matrix", f.Name())
	}
	return w, nil
}

// size is the number of weights.
func (w weights) size() (n int) {
	for _, m := range w.matrices {
		n += m.n
	}
	return n
}

// deviation sums up how far values are from what they were.
type deviation struct {
	n                       int
	square, error2, distant float64 // sums of w², (q-w)² and |q-w|
}

func (d *deviation) add(o deviation) {
	d.n, d.square, d.error2, d.distant = d.n+o.n, d.square+o.square, d.error2+o.error2, d.distant+o.distant
}

// relativeRMS is the root of the mean squared error over that of the mean square: 0.1 is an error of a tenth.
func (d deviation) relativeRMS() float64 { return math.Sqrt(d.error2 / d.square) }

// relativeMean is the mean of |q-w| over the root mean square of w.
func (d deviation) relativeMean() float64 {
	return d.distant / float64(d.n) / math.Sqrt(d.square/float64(d.n))
}

func deviationOf(x, q []float32) deviation {
	d := deviation{n: len(x)}
	for i, w := range x {
		e := float64(q[i]) - float64(w)
		d.square += float64(w) * float64(w)
		d.error2 += e * e
		d.distant += math.Abs(e)
	}
	return d
}

// errorsOf measures formats on all matrices, on all cores; the sums are in the order of the matrices.
func errorsOf(w weights, formats []format) ([]deviation, error) {
	each := make([][]deviation, len(w.matrices))
	var group errgroup.Group
	group.SetLimit(runtime.GOMAXPROCS(0))
	for i, m := range w.matrices {
		group.Go(func() error {
			x := make([]float32, m.n)
			if err := m.read(x); err != nil {
				return err
			}
			for _, f := range formats {
				each[i] = append(each[i], deviationOf(x, f.roundTrip(x)))
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	sums := make([]deviation, len(formats))
	for _, list := range each {
		for i, d := range list {
			sums[i].add(d)
		}
	}
	return sums, nil
}
