package adapters

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

// matrix is row-major.
type matrix struct {
	rows, cols int
	values     []float32
}

// transposed is MLX's order.
func (m matrix) transposed() matrix {
	t := matrix{m.cols, m.rows, make([]float32, len(m.values))}
	for r := range m.rows {
		for c := range m.cols {
			t.values[c*m.rows+r] = m.values[r*m.cols+c]
		}
	}
	return t
}

// pair is A [rank, inputs] and B [outputs, rank], nil where the file has not held one yet.
type pair struct{ a, b *matrix }

// pairs are the matrices of a file by their names without what tells A from B.
type pairs map[string]pair

// add adds a matrix under its whole name, of shape [rank, inputs] or [outputs, rank]; others, and those of the model's
// tables, are refused.
func (p pairs) add(path, name string, m matrix, tables []string, wayOut string) error {
	base, isA := strings.CutSuffix(name, suffixA)
	if !isA {
		base = strings.TrimSuffix(name, suffixB)
	}
	if slices.Contains(tables, base) {
		return usererr.New(opLoad, path, "%s adapts the embedding or the head", name).Of(usererr.Unsupported).
			Hinted("only linears of the layers can have an adapter: %s", wayOut)
	}
	both := p[base]
	if isA {
		both.a = &m
	} else {
		both.b = &m
	}
	p[base] = both
	return nil
}

func isMatrix(name string) bool {
	return strings.HasSuffix(name, suffixA) || strings.HasSuffix(name, suffixB)
}

// Endings of names in both formats.
const (
	suffixA = ".lora_a"
	suffixB = ".lora_b"
)

// names are the pairs' names, sorted.
func (p pairs) names() []string { return slices.Sorted(maps.Keys(p)) }

// complete refuses a file with half a pair, and one with none.
func (p pairs) complete(path string) error {
	if len(p) == 0 {
		return usererr.New(opLoad, path, "it holds no matrices").Of(usererr.Format).Hinted("the file is incomplete: make it anew")
	}
	for _, name := range p.names() {
		both := p[name]
		missing := name + suffixA
		if both.a != nil {
			missing = name + suffixB
		}
		if both.a == nil || both.b == nil {
			return usererr.New(opLoad, path, "%s is missing", missing).Of(usererr.Format).Hinted("the file is incomplete: fetch it anew")
		}
		if r, c := both.a.rows, both.b.cols; r != c || r < 1 {
			return usererr.New(opLoad, path, "the ranks of %s and %s differ: %d and %d", name+suffixA, suffixB, r, c).Of(usererr.Format)
		}
	}
	return nil
}

// fit refuses matrices of what the model has not, or has in another shape.
func (a *Adapter) fit(places []place) error {
	byName := map[string]place{}
	for _, p := range places {
		byName[p.name] = p
	}
	var strangers, unfit []string
	said := ""
	for _, name := range a.pairs.names() {
		p, ok := byName[name]
		if !ok {
			strangers = append(strangers, name)
			continue
		}
		both := a.pairs[name]
		if outs, ins := both.b.rows, both.a.cols; outs != p.rows || ins != p.cols {
			if unfit = append(unfit, name); said == "" {
				said = fmt.Sprintf("%s is for %d×%d, the model's is %d×%d", name, outs, ins, p.rows, p.cols)
			}
		}
	}
	hint := "the adapter belongs to another model"
	if a.origin.Base != "" {
		hint += fmt.Sprintf(", by what it says to %.100s", a.origin.Base)
	}
	switch {
	case len(strangers) > 0:
		return usererr.New(opLoad, a.origin.Path, "%s no place in the model, which has names such as %s", have(strangers),
			places[len(places)-1].name).Hinted("%s", hint)
	case len(unfit) > 1:
		said += fmt.Sprintf("; %d of %d do not fit", len(unfit), len(a.pairs))
		fallthrough
	case len(unfit) > 0:
		return usererr.New(opLoad, a.origin.Path, "%s", said).Hinted("%s", hint)
	}
	return nil
}

// have lists names as the subject of a sentence.
func have(names []string) string {
	const shown = 3
	if len(names) == 1 {
		return names[0] + " has"
	}
	list := strings.Join(names[:min(len(names), shown)], ", ")
	if more := len(names) - shown; more > 0 {
		list += fmt.Sprintf(" and %d more", more)
	}
	return list + " have"
}

// products puts pairs that fit together to what the adapter adds to each linear.
func (a *Adapter) products(places []place) map[string]lora.Product {
	parts, linears := map[string][]part{}, map[string]int{}
	for _, p := range places {
		linears[p.linear] = max(linears[p.linear], p.first+p.rows)
		both, there := a.pairs[p.name]
		if !there {
			continue
		}
		one := part{place: p, Product: lora.Product{Rank: both.a.rows, A: both.a.values}}
		one.Scaling = float32(float64(a.scale(one.Rank)) / p.factor)
		one.B = make([]float32, len(both.b.values))
		for r := range p.rows {
			copy(one.B[r*one.Rank:(r+1)*one.Rank], both.b.values[p.row(r)*one.Rank:])
		}
		parts[p.linear] = append(parts[p.linear], one)
	}
	products := map[string]lora.Product{}
	for linear, list := range parts {
		products[linear] = joined(list, linears[linear])
	}
	return products
}

// part is what an adapter adds to the rows of a place.
type part struct {
	place
	lora.Product
}

// joined is what parts, each for rows of its own, add to a linear of so many outputs: parts with the same A share it,
// else each has ranks of its own, for which the other's rows of B are zero.
func joined(parts []part, outs int) lora.Product {
	if len(parts) == 1 && parts[0].rows == outs {
		return parts[0].Product
	}
	out, starts := lora.Product{Scaling: parts[0].Scaling}, make([]int, len(parts))
	for i, p := range parts {
		if i > 0 && p.Scaling == parts[0].Scaling && slices.Equal(p.A, parts[0].A) {
			continue // starts at 0, too
		}
		starts[i] = out.Rank
		out.A, out.Rank = append(out.A, p.A...), out.Rank+p.Rank
	}
	out.B = make([]float32, outs*out.Rank)
	for i, p := range parts {
		for r := range p.rows {
			fold(out.B[(p.first+r)*out.Rank+starts[i]:][:p.Rank], p.B[r*p.Rank:], float64(p.Scaling), float64(out.Scaling))
		}
	}
	return out
}

// fold fills dst with values that have one scale, for another: rounded once where they differ.
func fold(dst, values []float32, has, wanted float64) {
	if has == wanted {
		copy(dst, values)
		return
	}
	for i := range dst {
		dst[i] = float32(float64(values[i]) * has / wanted)
	}
}
