// Package convert writes models: with adapters added to their weights, in another type, or in 4 bits.
package convert

import (
	"slices"

	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

const op = "write model"

// Base says what adapters are added to.
type Base struct {
	// Dequantized takes the weights that training saw: linears as NF4 gives them back, embedding and head in bfloat16.
	// Else they are those of the model's files.
	Dequantized bool
	// NF4 is how training kept the linears; nil: in bfloat16. A model whose files hold NF4 has its own.
	NF4 *spec.Quantized
}

// Weights are a model's with adapters merged in: W + Σ scaling · B A, in float64.
type Weights struct {
	model    *pretrained.Model
	adapters []*lora.Files
	base     Base
	roles    map[string]spec.Role // of the model's tensors
	products map[string][]product // by tensor
}

// product is what an adapter adds to a matrix, widened.
type product struct {
	rank    int
	scaling float64
	a       []float64 // [rank, columns]
	b       []float32 // [rows, rank]
}

// New merges adapters, any number of them, into a model. Warnings are those of loading the adapters. Errors are
// *usererr.Error: an adapter of another model, with the name or the shape that differs, and one that is given twice.
func New(model *pretrained.Model, adapters []*lora.Files, base Base) (w *Weights, warnings []string, err error) {
	w = &Weights{model: model, adapters: adapters, base: base, roles: map[string]spec.Role{}, products: map[string][]product{}}
	for _, t := range model.Spec.Tensors() {
		if err := model.Expect(t.Name, t.Rows, t.Cols); err != nil {
			return nil, nil, err
		}
		w.roles[t.Name] = t.Role
	}
	linears := lora.LinearsOf(model.Spec)
	for i, files := range adapters {
		if at := slices.IndexFunc(adapters[:i], files.Same); at >= 0 {
			return nil, nil, usererr.New(op, files.Path, "it is the same adapter as %s: both together would count twice", adapters[at].Path).
				Hinted("give it once; for more of it, raise lora_alpha in its adapter_config.json")
		}
		products, said, err := files.Products(linears)
		if err != nil {
			return nil, nil, err
		}
		warnings = append(warnings, said...)
		for name, p := range products {
			wide := product{rank: p.Rank, scaling: float64(p.Scaling), a: make([]float64, len(p.A)), b: p.B}
			for i, v := range p.A {
				wide.a[i] = float64(v)
			}
			w.products[name+".weight"] = append(w.products[name+".weight"], wide)
		}
	}
	return w, warnings, nil
}

// Name is the model's on the hub; empty: none is known.
func (w *Weights) Name() string { return w.model.Name }

// Adapters are those that were added.
func (w *Weights) Adapters() []*lora.Files { return w.adapters }

// IsFolder tells whether the model's files are a Hugging Face folder, which can be written anew.
func (w *Weights) IsFolder() bool { return w.model.Config() != nil }

// Model is what they are the weights of.
func (w *Weights) Model() *pretrained.Model { return w.model }

// Close closes the model's files.
func (w *Weights) Close() error { return w.model.Close() }

// Changed tells whether a tensor's values are others than the files'.
func (w *Weights) Changed(tensor string) bool {
	if len(w.products[tensor]) > 0 {
		return true
	}
	role, known := w.roles[tensor]
	return w.base.Dequantized && known && (role == spec.Matrix || role == spec.Table)
}

// addTo adds the product to rows [first, first+n) of its matrix, four rows of A at a time: each value of the matrix is
// then read and written once for four products.
func (p product) addTo(dst []float64, first, n int) {
	cols := len(p.a) / p.rank
	for r := range n {
		row, b := dst[r*cols:(r+1)*cols], p.b[(first+r)*p.rank:(first+r+1)*p.rank]
		k := 0
		for ; k+4 <= p.rank; k += 4 {
			f0, f1, f2, f3 := p.factor(b[k]), p.factor(b[k+1]), p.factor(b[k+2]), p.factor(b[k+3])
			a0, a1, a2, a3 := p.row(k)[:len(row)], p.row(k + 1)[:len(row)], p.row(k + 2)[:len(row)], p.row(k + 3)[:len(row)]
			for c := range row {
				row[c] += f0*a0[c] + f1*a1[c] + f2*a2[c] + f3*a3[c]
			}
		}
		for ; k < p.rank; k++ {
			f, a := p.factor(b[k]), p.row(k)[:len(row)]
			for c := range row {
				row[c] += f * a[c]
			}
		}
	}
}

func (p product) factor(b float32) float64 { return p.scaling * float64(b) }

func (p product) row(k int) []float64 {
	cols := len(p.a) / p.rank
	return p.a[k*cols : (k+1)*cols]
}
