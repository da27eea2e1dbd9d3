package lora

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"qlora-wgpu/internal/usererr"
)

// fit puts an adapter's matrices in the order of its linears, A before B. Errors are SetTensors'.
func fit(linears []*Linear, tensors []Tensor, where string) (ordered []Tensor, err error) {
	given := map[string]Tensor{}
	for _, t := range tensors {
		given[t.Name] = t
	}
	for i := range 2 * len(linears) {
		want := matrix(linears, i)
		t, ok := given[want.Name]
		if !ok {
			return nil, usererr.New(opLoad, where, "%s is missing", want.Name).
				Hinted("the adapter belongs to another model or has other target modules")
		}
		if t.Rows != want.Rows || t.Cols != want.Cols {
			err := usererr.New(opLoad, where, "%s is %d×%d, the model wants %d×%d%s",
				t.Name, t.Rows, t.Cols, want.Rows, want.Cols, unfit(linears, given)).Hinted("the adapter belongs to another model")
			if isA := i%2 == 0; isA && t.Cols == want.Cols || !isA && t.Rows == want.Rows {
				err.Hint = fmt.Sprintf("%s gives this linear the rank %d", ConfigFile, linears[i/2].Rank)
			}
			return nil, err
		}
		for at, v := range t.Values {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return nil, usererr.New(opLoad, where, "%s holds %v at %d", t.Name, v, at)
			}
		}
		ordered = append(ordered, t)
		delete(given, t.Name)
	}
	for name := range given {
		return nil, usererr.New(opLoad, where, "%s has no place in the model", name).
			Hinted("the adapter belongs to another model or has other target modules")
	}
	return ordered, nil
}

// unfit says how many matrices have another shape than the linears', and of which modules, where that are several.
func unfit(linears []*Linear, given map[string]Tensor) string {
	n := 0
	var modules []string
	for i := range 2 * len(linears) {
		want := matrix(linears, i)
		t, there := given[want.Name]
		if !there || t.Rows == want.Rows && t.Cols == want.Cols {
			continue
		}
		n++
		if m := linears[i/2].module(); !slices.Contains(modules, m) {
			modules = append(modules, m)
		}
	}
	if n == 1 {
		return ""
	}
	return fmt.Sprintf("; %d of %d matrices do not fit, those of %s", n, 2*len(linears), strings.Join(modules, ", "))
}
