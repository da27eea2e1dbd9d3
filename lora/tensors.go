package lora

import (
	"context"
	"math"
	"strings"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/internal/usererr"
)

// Tensor is one matrix of the adapter as PEFT stores it, unpadded and row-major: A is [r, In], B [Out, r].
type Tensor struct {
	Name       string
	Rows, Cols int
	Values     []float32
}

// shape is an entry's size without padding.
func (a *Adapter) shape(e optim.Entry) (rows, cols int) {
	if strings.HasSuffix(e.Name, ".lora_A.weight") {
		return a.Config.Rank, e.Cols
	}
	return e.Rows, a.Config.Rank
}

// Tensors reads one flat list of the state (State.Param, State.Grad) back, in PEFT's names and shapes, A before B,
// linear by linear. Errors are the device's and ctx's.
func (a *Adapter) Tensors(ctx context.Context, list []*gpu.Tensor) (out []Tensor, err error) {
	for _, e := range a.State.Entries {
		values, err := a.State.Read(ctx, list, e.Name)
		if err != nil {
			return nil, err
		}
		rows, cols := a.shape(e)
		t := Tensor{Name: e.Name, Rows: rows, Cols: cols}
		for r := range rows {
			t.Values = append(t.Values, values[r*e.Cols:r*e.Cols+cols]...)
		}
		out = append(out, t)
	}
	return out, nil
}

// set writes one matrix given without padding.
func (a *Adapter) set(name string, values []float32) error {
	view := a.State.View(a.State.Param, name)
	rows, cols := a.shape(optim.Entry{Name: name, Rows: view.Rows, Cols: view.Cols})
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
	for _, e := range a.State.Entries {
		rows, cols := a.shape(e)
		t, ok := given[e.Name]
		if !ok {
			return usererr.New("load adapter", where, "%s is missing", e.Name).
				Hinted("the adapter belongs to another model or has other target modules")
		}
		if t.Rows != rows || t.Cols != cols {
			return usererr.New("load adapter", where, "%s is %d×%d, the model wants %d×%d", e.Name, t.Rows, t.Cols, rows, cols).
				Hinted("the adapter belongs to another model")
		}
		for i, v := range t.Values {
			if math.IsNaN(float64(v)) || math.IsInf(float64(v), 0) {
				return usererr.New("load adapter", where, "%s holds %v at %d", e.Name, v, i)
			}
		}
		if err := a.set(e.Name, t.Values); err != nil {
			return err
		}
		delete(given, e.Name)
	}
	for name := range given {
		return usererr.New("load adapter", where, "%s has no place in the model", name).
			Hinted("the adapter belongs to another model or has other target modules")
	}
	return nil
}
