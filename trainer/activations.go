package trainer

import (
	"slices"

	"qlora-wgpu/gpu"
	"qlora-wgpu/paging"
)

// The values of gradient_checkpointing: how much of a layer is computed again in its backward. None changes a bit of the result, as long as what is kept is not rounded.
const (
	CheckpointAuto      = "auto"      // the least that fits the budget
	CheckpointFull      = "full"      // the whole layer, from its input
	CheckpointSelective = "selective" // norms, gate and up, and what is cheap
	CheckpointOff       = "off"       // nothing
)

// The values of activation_dtype: how what is kept of a layer for its backward is stored.
const (
	ActivationsF32  = "f32"
	ActivationsBF16 = "bf16" // half the memory; gradients carry the rounding, losses of the forward pass do not
)

func validCheckpointing(value string) error {
	return oneOf("gradient_checkpointing", value, CheckpointAuto, CheckpointFull, CheckpointSelective, CheckpointOff)
}

func validActivationDType(value string) error {
	return oneOf("activation_dtype", value, ActivationsF32, ActivationsBF16)
}

// checkpointing are the values that a run can have in the end, and how they treat activations: what computes least again comes first.
var checkpointing = []struct {
	name        string
	activations paging.Activations
}{{CheckpointOff, paging.Keep}, {CheckpointSelective, paging.Selective}, {CheckpointFull, paging.Recompute}}

// activationsOf is how a value of gradient_checkpointing treats activations; auto is full as long as nothing else is known.
func activationsOf(setting string) paging.Activations {
	for _, c := range checkpointing {
		if c.name == setting {
			return c.activations
		}
	}
	return paging.Recompute
}

// checkpointingOf is the value of gradient_checkpointing that a plan amounts to.
func checkpointingOf(a paging.Activations) string {
	for _, c := range checkpointing {
		if c.activations == a {
			return c.name
		}
	}
	return CheckpointFull // the layers' inputs are on the host
}

// planAuto takes the least recompute with which all of the run stays on the device within the budget. Without a budget nobody knows what the device holds, and whole
// layers are computed again.
func (d demand) planAuto(dev *gpu.Device, budget int64) (*paging.Plan, error) {
	d.auto = false
	for _, d.start.Activations = range []paging.Activations{paging.Keep, paging.Selective} {
		if budget == 0 {
			break
		}
		about, err := d.estimate(dev, residentPeak)
		if err != nil {
			return nil, err
		}
		if about-about/16 > budget { // no need to record it in full
			continue
		}
		if p, err := d.plan(dev, budget); err == nil && p.Resident <= budget {
			return p, nil
		}
	}
	d.start.Activations = paging.Recompute
	return d.plan(dev, budget)
}

func residentPeak(p *paging.Plan) int64 { return p.Resident }

// recorded are the ways to treat activations that a plan may choose from.
func (d demand) recorded() []paging.Activations {
	return slices.Concat([]paging.Activations{d.start.Activations}, d.start.Lighter())
}

// describeAuto says what auto amounts to.
func describeAuto(p *paging.Plan) string {
	name := checkpointingOf(p.Activations)
	if p.Budget == 0 {
		return "gradient_checkpointing: auto is " + name + ", without a memory budget."
	}
	return "gradient_checkpointing: auto is " + name + ", the least recompute that fits " + paging.Size(p.Budget) + "."
}
