package lora

import (
	"strings"

	"qlora-wgpu/internal/model/spec"
)

// LinearsOf are a model's linears, for whoever needs them without a device.
func LinearsOf(s spec.Spec) (linears []*Linear) {
	for _, t := range s.Tensors() {
		if t.Role == spec.Matrix {
			linears = append(linears, &Linear{Name: strings.TrimSuffix(t.Name, ".weight"), Weight: t.Module, In: t.Cols, Out: t.Rows})
		}
	}
	return linears
}

// Product is what an adapter adds to the weight [Out, In] of a linear: Scaling · B A.
type Product struct {
	Rank    int
	Scaling float32
	A       []float32 // [Rank, In]
	B       []float32 // [Out, Rank]
}

// Products are what an adapter adds to a model's linears, by their names. Errors and warnings are those of Attach and
// SetTensors; the linears get rank and scaling.
func (f *Files) Products(linears []*Linear) (products map[string]Product, warnings []string, err error) {
	adapted, err := f.Config.adapted(linears)
	if err != nil {
		return nil, nil, err
	}
	if warnings, err = f.Config.loaded.check(linears, f.Config.named); err != nil {
		return nil, nil, err
	}
	ordered, err := fit(adapted, f.Tensors, f.Path)
	if err != nil {
		return nil, nil, err
	}
	products = map[string]Product{}
	for i, l := range adapted {
		products[l.Name] = Product{Rank: l.Rank, Scaling: l.Scaling, A: ordered[2*i].Values, B: ordered[2*i+1].Values}
	}
	return products, warnings, nil
}
