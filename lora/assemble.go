package lora

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"qlora-wgpu/internal/usererr"
)

// Origin says where an adapter comes from that was not kept in PEFT's format.
type Origin struct {
	Path    string // its file or folder
	Base    string // the base model that it names; empty: none
	Within  string // Config.Within
	Dropout float64
}

// Assemble makes an adapter of what it adds to linears, at least one, by their names in the language model's own class.
// The error is a *usererr.Error of a scaling that is not positive, or no float32.
func Assemble(from Origin, products map[string]Product) (*Files, error) {
	f := &Files{Path: from.Path, Config: Config{Within: from.Within, Dropout: from.Dropout}}
	f.Config.loaded = &loaded{path: from.Path, base: from.Base, adapted: map[string]bool{}}
	f.Config.loaded.selection.target.open = true
	names := slices.SortedFunc(maps.Keys(products), inLayers)
	ranks, alphas := map[string]float64{}, map[string]float64{}
	for _, name := range names {
		p := products[name]
		if ranks[name], alphas[name] = float64(p.Rank), alphaOf(p); !scale(alphas[name]) {
			return nil, usererr.New(opLoad, from.Path, "the scale of %s is %g, it must be positive, and a float32", name, p.Scaling).
				Of(usererr.Format)
		}
		f.Config.loaded.adapted[name] = true
		f.Tensors = append(f.Tensors,
			Tensor{Name: keyPrefix + name + keySuffixA, Rows: p.Rank, Cols: len(p.A) / p.Rank, Values: p.A},
			Tensor{Name: keyPrefix + name + keySuffixB, Rows: len(p.B) / p.Rank, Cols: p.Rank, Values: p.B})
	}
	f.Config.Rank, f.Config.Alpha = int(commonest(names, ranks)), commonest(names, alphas)
	f.Config.RankPattern = patternsOf(names, ranks, float64(f.Config.Rank))
	f.Config.AlphaPattern = patternsOf(names, alphas, f.Config.Alpha)
	return f, nil
}

// alphaOf is an alpha that gives exactly the product's scaling: that of the fewest digits, such as somebody would have
// chosen, where it does.
func alphaOf(p Product) float64 {
	exact := float64(p.Scaling) * float64(p.Rank) // 24 bits by at most 17
	short, err := strconv.ParseFloat(strconv.FormatFloat(exact, 'g', -1, 32), 64)
	if err == nil && float32(short/float64(p.Rank)) == p.Scaling {
		return short
	}
	return exact
}

// commonest is the value that most linears have, of several the first.
func commonest(names []string, values map[string]float64) (value float64) {
	count := map[float64]int{}
	for _, name := range names {
		count[values[name]]++
	}
	for _, name := range names {
		if count[values[name]] > count[value] {
			value = values[name]
		}
	}
	return value
}

// patternsOf are the values that differ from the fallback: by module where all linears of it have the same, else by
// linear.
func patternsOf(names []string, values map[string]float64, fallback float64) (list []Pattern) {
	byModule := map[string][]float64{}
	for _, name := range names {
		if m := moduleOf(name); !slices.Contains(byModule[m], values[name]) {
			byModule[m] = append(byModule[m], values[name])
		}
	}
	listed := map[string]bool{}
	for _, name := range names {
		key := moduleOf(name)
		if len(byModule[key]) > 1 {
			key = strings.TrimPrefix(name, alone)
		}
		if values[name] == fallback || listed[key] {
			continue
		}
		listed[key] = true
		p, err := newPattern(regexp.QuoteMeta(key), values[name])
		if err != nil {
			panic(err) // what is quoted compiles
		}
		list = append(list, p)
	}
	return list
}
