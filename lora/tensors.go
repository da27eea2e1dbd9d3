package lora

import (
	"context"

	"qlora-wgpu/gpu"
)

// Tensor is one matrix of the adapter as PEFT stores it, unpadded and row-major: A is [r, In], B [Out, r].
type Tensor struct {
	Name       string
	Rows, Cols int
	Values     []float32
}

// matrix is the name and shape, without padding, of the i-th matrix of linears, each of which has its A and then its B.
func matrix(linears []*Linear, i int) Tensor {
	l := linears[i/2]
	if i%2 == 0 {
		return Tensor{Name: keyA(l), Rows: l.Rank, Cols: l.In}
	}
	return Tensor{Name: keyB(l), Rows: l.Out, Cols: l.Rank}
}

// Tensors reads one flat list of the state (State.Param, State.Grad) back, in PEFT's names and shapes, A before B,
// linear by linear. Errors are the device's and ctx's.
func (a *Adapter) Tensors(ctx context.Context, list []*gpu.Tensor) (out []Tensor, err error) {
	for i, e := range a.State.Entries {
		values, err := a.State.Read(ctx, list, e.Name)
		if err != nil {
			return nil, err
		}
		t := matrix(a.linear, i)
		for r := range t.Rows {
			t.Values = append(t.Values, values[r*e.Cols:r*e.Cols+t.Cols]...)
		}
		out = append(out, t)
	}
	return out, nil
}

// set writes the state's i-th matrix, given without padding.
func (a *Adapter) set(i int, values []float32) error {
	view := a.State.View(a.State.Param, a.State.Entries[i].Name)
	m, full := matrix(a.linear, i), make([]float32, view.Rows*view.Cols)
	for r := range m.Rows {
		copy(full[r*view.Cols:], values[r*m.Cols:(r+1)*m.Cols])
	}
	return view.WriteFloat32(full)
}

// SetTensors fills the adapter from matrices in PEFT's names; each of the adapter's must be there once, with its
// shape, and no other. Errors are *usererr.Error for those that are missing, too many, of another shape or not finite,
// naming the file as where does, and the device's, after which the adapter may be filled in part.
func (a *Adapter) SetTensors(tensors []Tensor, where string) error {
	ordered, err := fit(a.linear, tensors, where)
	if err != nil {
		return err
	}
	for i, t := range ordered {
		if err := a.set(i, t.Values); err != nil {
			return err
		}
	}
	return nil
}
