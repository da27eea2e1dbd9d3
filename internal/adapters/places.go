package adapters

import (
	"fmt"
	"slices"
	"strings"

	"qlora-wgpu/internal/model/architectures"
	"qlora-wgpu/internal/model/spec"
)

// place is where a format keeps rows of a linear.
type place struct {
	name        string // of its matrices there, without what tells A from B
	linear      string // as PEFT names it
	first, rows int    // of the linear's outputs
	cols        int
	stored      func(row int) int // which of the format's rows one of these rows is; nil: the same
	factor      float64           // of what the format's matrices add
}

// row is which row of the format's B a row of the place is.
func (p place) row(r int) int {
	if p.stored == nil {
		return r
	}
	return p.stored(r)
}

// linearOf is a weight's linear.
func linearOf(t spec.Tensor) string { return strings.TrimSuffix(t.Name, ".weight") }

// matrices are the weights that can have an adapter.
func matrices(s spec.Spec) []spec.Tensor {
	return slices.DeleteFunc(s.Tensors(), func(t spec.Tensor) bool { return t.Role != spec.Matrix })
}

// inGGUF are the places of llama.cpp's format, and the architecture that it has for the model.
func inGGUF(s spec.Spec) (list []place, architecture string) {
	family, _ := architectures.Of(s)
	for _, t := range matrices(s) {
		factor := 1.0
		if t.Module == spec.QProj && s.Layers[t.Layer].QKNorm == spec.NoQKNorm { // as its weight has it, see convert.GGUF
			factor = architectures.ScoreFactor(s, t.Layer)
		}
		for _, in := range family.InGGUF(t) {
			list = append(list, place{in.Name, linearOf(t), in.First, in.Rows, t.Cols, in.Stored, factor})
		}
	}
	return list, family.Written().GGUF
}

// inMLX are the places of MLX's format. Its modules have the names that most families' files have; a language model
// that reads images is within one named language_model.
func inMLX(s spec.Spec) (list []place) {
	family, _ := architectures.Of(s)
	before := mlxLayers
	if s.Wrapper != "" {
		before = mlxWrapped + before
	}
	for _, t := range matrices(s) {
		add := func(module string, first, rows int) {
			list = append(list, place{fmt.Sprintf("%s%d.%s", before, t.Layer, module), linearOf(t), first, rows, t.Cols, nil, 1})
		}
		if half := t.Rows / 2; family.GateApart && t.Module == spec.GateUpProj {
			add(spec.GateProj, 0, half)
			add(spec.UpProj, half, half)
		} else {
			add(t.Module, 0, t.Rows)
		}
	}
	return list
}

// mlxWrapped is what names begin with in MLX where the model reads images.
const mlxWrapped = "language_model."
