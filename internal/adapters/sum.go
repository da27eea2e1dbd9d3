package adapters

import (
	"io"
	"math"

	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

// Sum is one adapter or several on top of each other, to be written as one: the ranks of several stand side by side.
type Sum struct {
	// Warnings are those of loading the adapters.
	Warnings []string

	spec    spec.Spec
	base    string
	dropout float64
	parts   map[string][]lora.Product // by linear
}

// Add adds adapters up that belong to a model; base is its name on the hub, or another that tells people what it is.
// Errors are *usererr.Error: of an adapter of another model, with the name or the shape that differs.
func Add(s spec.Spec, base string, adapters ...*lora.Files) (*Sum, error) {
	sum := &Sum{spec: s, base: base, parts: map[string][]lora.Product{}}
	linears := lora.LinearsOf(s)
	for _, files := range adapters {
		products, warnings, err := files.Products(linears)
		if err != nil {
			return nil, err
		}
		for linear, p := range products {
			sum.parts[linear] = append(sum.parts[linear], p)
		}
		sum.Warnings = append(sum.Warnings, warnings...)
		sum.dropout = max(sum.dropout, files.Config.Dropout)
	}
	return sum, nil
}

// File is a file to write.
type File struct {
	Size  int64 // bytes
	Write func(io.Writer) error
}

// rank is that of all adapters of a linear together.
func (s *Sum) rank(linear string) (rank int) {
	for _, p := range s.parts[linear] {
		rank += p.Rank
	}
	return rank
}

// adapted are the places whose linear has an adapter.
func (s *Sum) adapted(places []place) (list []place) {
	for _, p := range places {
		if len(s.parts[p.linear]) > 0 {
			list = append(list, p)
		}
	}
	return list
}

// a is A at a place [rank, columns].
func (s *Sum) a(p place) matrix {
	m := matrix{rows: s.rank(p.linear), cols: p.cols, values: make([]float32, 0, s.rank(p.linear)*p.cols)}
	for _, part := range s.parts[p.linear] {
		m.values = append(m.values, part.A...)
	}
	return m
}

// b is B at a place [rows, rank], for a scale that the format has.
func (s *Sum) b(p place, scale float32) (matrix, error) {
	m := matrix{p.rows, s.rank(p.linear), make([]float32, p.rows*s.rank(p.linear))}
	for r := range p.rows {
		at := p.row(r) * m.cols
		for _, part := range s.parts[p.linear] {
			fold(m.values[at:at+part.Rank], part.B[(p.first+r)*part.Rank:], float64(part.Scaling)*p.factor, float64(scale))
			at += part.Rank
		}
	}
	for i, v := range m.values {
		if math.IsInf(float64(v), 0) {
			return m, usererr.New(opWrite, "", "element [%d,%d] of %s%s is larger than a float32, scaled as the format wants it",
				i/m.cols, i%m.cols, p.name, suffixB).Hinted("take PEFT's format")
		}
	}
	return m, nil
}
