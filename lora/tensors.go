package lora

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/usererr"
)

// Tensor is one matrix of the adapter as PEFT stores it, unpadded and row-major: A is [r, In], B [Out, r].
type Tensor struct {
	Name       string
	Rows, Cols int
	Values     []float32
}

// shape is the size without padding of the state's i-th entry.
func (a *Adapter) shape(i int) (rows, cols int) {
	l := a.linear[i/2]
	if i%2 == 0 {
		return l.Rank, l.In
	}
	return l.Out, l.Rank
}

// Tensors reads one flat list of the state (State.Param, State.Grad) back, in PEFT's names and shapes, A before B,
// linear by linear. Errors are the device's and ctx's.
func (a *Adapter) Tensors(ctx context.Context, list []*gpu.Tensor) (out []Tensor, err error) {
	for i, e := range a.State.Entries {
		values, err := a.State.Read(ctx, list, e.Name)
		if err != nil {
			return nil, err
		}
		rows, cols := a.shape(i)
		t := Tensor{Name: e.Name, Rows: rows, Cols: cols}
		for r := range rows {
			t.Values = append(t.Values, values[r*e.Cols:r*e.Cols+cols]...)
		}
		out = append(out, t)
	}
	return out, nil
}

// set writes the state's i-th matrix, given without padding.
func (a *Adapter) set(i int, values []float32) error {
	view := a.State.View(a.State.Param, a.State.Entries[i].Name)
	rows, cols := a.shape(i)
	full := make([]float32, view.Rows*view.Cols)
	for r := range rows {
		copy(full[r*view.Cols:], values[r*cols:(r+1)*cols])
	}
	return view.WriteFloat32(full)
}

// SetTensors fills the adapter from matrices in PEFT's names; each of the adapter's must be there once, with its
// shape, and no other. Errors are *usererr.Error for those that are missing, too many, of another shape or not finite,
// naming the file as where does, and the device's; the adapter may then be filled in part.
func (a *Adapter) SetTensors(tensors []Tensor, where string) error {
	given := map[string]Tensor{}
	for _, t := range tensors {
		given[t.Name] = t
	}
	for i, e := range a.State.Entries {
		rows, cols := a.shape(i)
		t, ok := given[e.Name]
		if !ok {
			return usererr.New(opLoad, where, "%s is missing", e.Name).
				Hinted("the adapter belongs to another model or has other target modules")
		}
		if t.Rows != rows || t.Cols != cols {
			err := usererr.New(opLoad, where, "%s is %d×%d, the model wants %d×%d%s", e.Name, t.Rows, t.Cols, rows, cols, a.unfit(given)).
				Hinted("the adapter belongs to another model")
			if isA := i%2 == 0; isA && t.Cols == cols || !isA && t.Rows == rows {
				err.Hint = fmt.Sprintf("%s gives this linear the rank %d", ConfigFile, a.linear[i/2].Rank)
			}
			return err
		}
		for at, v := range t.Values {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return usererr.New(opLoad, where, "%s holds %v at %d", e.Name, v, at)
			}
		}
		if err := a.set(i, t.Values); err != nil {
			return err
		}
		delete(given, e.Name)
	}
	for name := range given {
		return usererr.New(opLoad, where, "%s has no place in the model", name).
			Hinted("the adapter belongs to another model or has other target modules")
	}
	return nil
}

// unfit says how many matrices have another shape than the adapter's, and of which modules, where that are several.
func (a *Adapter) unfit(given map[string]Tensor) string {
	n := 0
	var modules []string
	for i, e := range a.State.Entries {
		rows, cols := a.shape(i)
		t, there := given[e.Name]
		if !there || t.Rows == rows && t.Cols == cols {
			continue
		}
		n++
		if m := a.linear[i/2].module(); !slices.Contains(modules, m) {
			modules = append(modules, m)
		}
	}
	if n == 1 {
		return ""
	}
	return fmt.Sprintf("; %d of %d matrices do not fit, those of %s", n, len(a.State.Entries), strings.Join(modules, ", "))
}
