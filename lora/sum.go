package lora

import (
	"slices"
	"strings"
)

// Sum is one adapter that adds to a model's linears what several do together: their matrices one beside the other, with
// the scalings in B. Where their ranks together are more than a linear can have, one matrix is what they add, and the
// other the identity. Either way values are rounded once. Errors are those of Products.
func Sum(adapters []*Files, linears []*Linear) (*Files, error) {
	if len(adapters) == 1 {
		return adapters[0], nil
	}
	all := map[string][]Product{}
	var paths []string
	for _, f := range adapters {
		products, _, err := f.Products(linears)
		if err != nil {
			return nil, err
		}
		for name, p := range products {
			all[name] = append(all[name], p)
		}
		paths = append(paths, f.Path)
	}
	sums := map[string]Product{}
	for _, l := range linears {
		if len(all[l.Name]) > 0 {
			sums[l.Name] = joined(all[l.Name], l.In, l.Out)
		}
	}
	return Assemble(Origin{Path: strings.Join(paths, " + ")}, sums)
}

// joined is one product of the scaling 1 for several on a linear.
func joined(products []Product, in, out int) Product {
	sum := Product{Scaling: 1}
	for _, p := range products {
		sum.Rank += p.Rank
		sum.A = append(sum.A, p.A...)
	}
	if sum.Rank > min(in, out) {
		return multiplied(products, in, out)
	}
	for row := range out {
		for _, p := range products {
			for _, b := range p.B[row*p.Rank : (row+1)*p.Rank] {
				sum.B = append(sum.B, p.Scaling*b)
			}
		}
	}
	return sum
}

// multiplied is the product of the identity and what several add to a weight [out, in].
func multiplied(products []Product, in, out int) Product {
	sum := Product{Rank: min(in, out), Scaling: 1}
	weight := make([]float32, 0, out*in)
	for r := range out {
		row := make([]float64, in)
		for _, p := range products {
			for k, b := range p.B[r*p.Rank : (r+1)*p.Rank] {
				factor := float64(p.Scaling) * float64(b)
				for c, a := range p.A[k*in : (k+1)*in] {
					row[c] += factor * float64(a)
				}
			}
		}
		for _, v := range row {
			weight = append(weight, float32(v))
		}
	}
	identity := make([]float32, sum.Rank*sum.Rank)
	for i := range sum.Rank {
		identity[i*sum.Rank+i] = 1
	}
	if sum.A, sum.B = identity, weight; out < in {
		sum.A, sum.B = weight, identity
	}
	return sum
}

// Same tells whether two adapters hold the same matrices with the same scale, wherever they lie.
func (f *Files) Same(other *Files) bool {
	byName := func(a, b Tensor) int { return strings.Compare(a.Name, b.Name) }
	equal := func(a, b Tensor) bool {
		return a.Name == b.Name && a.Rows == b.Rows && a.Cols == b.Cols && slices.Equal(a.Values, b.Values)
	}
	a, b := slices.SortedFunc(slices.Values(f.Tensors), byName), slices.SortedFunc(slices.Values(other.Tensors), byName)
	return slices.EqualFunc(a, b, equal) && !slices.ContainsFunc(a, func(t Tensor) bool {
		linear, _, _ := splitKey(t.Name)
		return f.Config.scaling(linear) != other.Config.scaling(linear)
	})
}
