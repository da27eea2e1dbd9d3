package trainer

import (
	"maps"
	"slices"
	"strings"

	"qlora-wgpu/lora"
)

// warnOfNoRate is for a run of which no step changes anything, before it takes its time.
func (r *run) warnOfNoRate() {
	const nothing = "No step of this run has a learning rate above 0, so that the adapter will not change: "
	if r.config.LearningRate == 0 {
		r.warn(nothing + "learning_rate is 0.")
		return
	}
	r.warn(nothing+"the run has %d, and the warm-up begins with a rate of 0. More steps (num_train_epochs, max_steps) or no warm-up "+
		"(lr_scheduler_type constant, or warmup_steps and warmup_ratio 0) let it learn.", r.loader.TotalSteps)
}

// warnIfUnchanged tells of a finished adapter that is what the run began with.
func (r *run) warnIfUnchanged(adapter []lora.Tensor) {
	skipped := ""
	if r.state.Skipped == r.state.Step {
		skipped = ": every update was skipped"
	}
	switch {
	case r.in.Adapter == nil && isZero(adapter):
		r.warn("The adapter changes nothing: B is 0 in all its layers, as it was before the first step%s.", skipped)
	case r.in.Adapter != nil && sameTensors(adapter, r.in.Adapter.Tensors):
		r.warn("The adapter is still that of init_adapter, to the bit%s.", skipped)
	}
}

// isZero tells whether the adapter, whose B begins as 0, adds nothing to any layer.
func isZero(adapter []lora.Tensor) bool {
	return !slices.ContainsFunc(adapter, func(t lora.Tensor) bool {
		return strings.Contains(t.Name, ".lora_B.") && slices.ContainsFunc(t.Values, func(v float32) bool { return v != 0 })
	})
}

func sameTensors(a, b []lora.Tensor) bool {
	values := func(tensors []lora.Tensor) map[string][]float32 {
		all := map[string][]float32{}
		for _, t := range tensors {
			all[t.Name] = t.Values
		}
		return all
	}
	return maps.EqualFunc(values(a), values(b), slices.Equal[[]float32])
}
