package engine

import (
	"strings"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/paging"
)

// Estimate is a number of the plan without a budget, from plans for the first few layers where layers are alike, so it
// grows evenly with them. That is quick, and exact to a few KiB.
func (d Demand) Estimate(dev *gpu.Device, number func(p *paging.Plan) int64) (int64, error) {
	if !d.alike() {
		p, err := d.Plan(dev, 0)
		if err != nil {
			return 0, err
		}
		return number(p), nil
	}
	const few = 3
	whole := d.Shape
	var at [2]int64
	for i := range at {
		d.Shape = whole.WithLayers(few + i)
		p, err := d.Plan(dev, 0)
		if err != nil {
			return 0, err
		}
		at[i] = number(p)
	}
	return at[0] + int64(len(whole.Layers)-few)*(at[1]-at[0]), nil
}

// alike tells whether all layers keep the same linears in the same formats.
func (d Demand) alike() bool {
	first := d.Shape.LayerTensors(0)
	for i := range d.Shape.Layers {
		tensors := d.Shape.LayerTensors(i)
		if len(tensors) != len(first) {
			return false
		}
		for j, t := range tensors {
			if t.Role == spec.Matrix && d.Format.Of(linearOf(t)) != d.Format.Of(linearOf(first[j])) {
				return false
			}
		}
	}
	return true
}

// linearOf is the name of the linear that a matrix is the weight of.
func linearOf(t spec.Tensor) string { return strings.TrimSuffix(t.Name, ".weight") }
