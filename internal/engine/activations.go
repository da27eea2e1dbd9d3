package engine

import (
	"slices"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/paging"
)

// Checkpointing are the values that a run can have in the end, and how they treat activations: what computes least
// again comes first.
var Checkpointing = []struct {
	Name        string
	Activations paging.Activations
}{{settings.CheckpointOff, paging.Keep}, {settings.CheckpointSelective, paging.Selective}, {settings.CheckpointFull, paging.Recompute}}

// activationsOf is how a value of gradient_checkpointing treats activations; auto is full as long as nothing else is
// known.
func activationsOf(setting string) paging.Activations {
	for _, c := range Checkpointing {
		if c.Name == setting {
			return c.Activations
		}
	}
	return paging.Recompute
}

// CheckpointingOf is the value of gradient_checkpointing that a plan amounts to.
func CheckpointingOf(a paging.Activations) string {
	for _, c := range Checkpointing {
		if c.Activations == a {
			return c.Name
		}
	}
	return settings.CheckpointFull // the layers' inputs are on the host
}

// planAuto takes the least recompute with which all of the run stays on the device within the budget. Without a budget
// nobody knows what the device holds, and whole layers are computed again.
func (d Demand) planAuto(dev *gpu.Device, budget int64) (*paging.Plan, error) {
	d.Auto = false
	for _, d.Start.Activations = range []paging.Activations{paging.Keep, paging.Selective} {
		if budget == 0 {
			break
		}
		about, err := d.Estimate(dev, ResidentPeak)
		if err != nil {
			return nil, err
		}
		if about-about/16 > budget { // no need to record it in full
			continue
		}
		if p, err := d.Plan(dev, budget); err == nil && p.Resident <= budget {
			return p, nil
		}
	}
	d.Start.Activations = paging.Recompute
	return d.Plan(dev, budget)
}

// ResidentPeak is what everything on the device takes, a number for Estimate.
func ResidentPeak(p *paging.Plan) int64 { return p.Resident }

// recorded are the ways to treat activations that a plan may choose from.
func (d Demand) recorded() []paging.Activations {
	return slices.Concat([]paging.Activations{d.Start.Activations}, d.Start.Lighter())
}

// describeAuto says what auto amounts to.
func describeAuto(p *paging.Plan) string {
	name := CheckpointingOf(p.Activations)
	if p.Budget == 0 {
		return "gradient_checkpointing: auto is " + name + ", without a memory budget."
	}
	return "gradient_checkpointing: auto is " + name + ", the least recompute that fits " + paging.Size(p.Budget) + "."
}
