package trainer

import (
	"fmt"
	"strings"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// PlanOptions are the settings that memory depends on.
type PlanOptions struct {
	Shape                 spec.Spec
	Name                  string
	VRAMBudget            string
	MaxSeqLength          int
	BatchSize             int
	MicroBatches          int // of a step
	LoraR                 int
	LoraTargetModules     []string
	BlockSize             int
	Optim                 string
	GradientCheckpointing string
	ActivationDType       string
	Bandwidth             float64 // GB/s between host and device
}

// PlanReport is what `plan` tells.
type PlanReport struct {
	Model  string `json:"model"`
	Tokens int    `json:"tokens"` // of a micro-batch
	// GradientCheckpointing is what auto amounts to, or what was given; Choices are the peaks with all of its values, and those of ActivationDType.
	GradientCheckpointing string   `json:"gradient_checkpointing"`
	ActivationDType       string   `json:"activation_dtype"`
	Choices               []Choice `json:"choices"`
	*paging.Plan
	Bandwidth float64 `json:"bandwidth_gb_per_s"`
	// PagingSeconds is what the traffic of a step takes at the bandwidth; as far as the device computes meanwhile it costs less.
	PagingSeconds float64  `json:"paging_seconds_per_step"`
	Largest       *Largest `json:"largest,omitempty"` // with a budget
	Advice        *Advice  `json:"frees_most,omitempty"`
}

// Choice is a way to treat activations, and the peak with everything resident then, to about a percent.
type Choice struct {
	GradientCheckpointing string `json:"gradient_checkpointing"`
	ActivationDType       string `json:"activation_dtype"`
	Peak                  int64  `json:"peak_device_bytes"`
}

// Largest are the values that fit the budget, each with the other settings as they are.
type Largest struct {
	MaxSeqLength int `json:"max_seq_length"`
	BatchSize    int `json:"batch_size"`
	LoraR        int `json:"lora_r"`
}

// Advice is the one setting whose change frees most of the peak with everything resident.
type Advice struct {
	Setting string `json:"setting"`
	From    string `json:"from"`
	To      string `json:"to"`
	Frees   int64  `json:"frees_bytes"`
}

// PlanMemory plans a run's memory on a dry device with WebGPU's default limits; it needs no GPU.
func PlanMemory(o PlanOptions) (*PlanReport, error) {
	for _, err := range []error{
		within("max_seq_length", o.MaxSeqLength, 2, 1<<20), within("batch_size", o.BatchSize, 1, 65536), within("gradient_accumulation_steps", o.MicroBatches, 1, 65536),
		within("lora_r", o.LoraR, 1, 65536), blockSize("block_size", o.BlockSize), targets("lora_target_modules", o.LoraTargetModules), within("bandwidth", o.Bandwidth, 1e-3, 1e6),
		validOptim(o.Optim), validCheckpointing(o.GradientCheckpointing), validActivationDType(o.ActivationDType),
	} {
		if err != nil {
			return nil, err
		}
	}
	if limit := o.Shape.MaxPositions; o.MaxSeqLength > limit {
		return nil, wrong("max_seq_length", fmt.Sprint(o.MaxSeqLength), fmt.Sprintf("at most %d, the model's own limit", limit))
	}
	budget, err := ParseBudget(o.VRAMBudget)
	if err != nil {
		return nil, err
	}
	plan, err := o.demand().plan(gpu.NewDryDiscrete(), budget)
	if err != nil {
		return nil, err
	}
	r := &PlanReport{Model: o.Name, Tokens: o.demand().tokens, GradientCheckpointing: o.GradientCheckpointing, ActivationDType: o.ActivationDType, Plan: plan, Bandwidth: o.Bandwidth, PagingSeconds: float64(plan.Traffic) / (o.Bandwidth * 1e9)}
	if budget > 0 {
		if r.Largest, err = o.largest(budget); err != nil {
			return nil, err
		}
	}
	if o.GradientCheckpointing == CheckpointAuto {
		o.GradientCheckpointing = checkpointingOf(plan.Activations)
		r.GradientCheckpointing = o.GradientCheckpointing
	}
	if r.Choices, err = o.choices(); err != nil {
		return nil, err
	}
	r.Advice, err = o.advice()
	return r, err
}

func (o PlanOptions) demand() demand {
	d := demand{
		shape: o.Shape, blockSize: o.BlockSize, tokens: o.MaxSeqLength * o.BatchSize, microBatches: o.MicroBatches,
		adapter: lora.Config{Rank: o.LoraR, Alpha: float64(o.LoraR), Targets: o.LoraTargetModules},
	}
	c := Config{Optim: o.Optim, GradientCheckpointing: o.GradientCheckpointing, ActivationDType: o.ActivationDType}
	d.eightBit, d.start, d.auto = c.eightBit(), c.decisions(), c.GradientCheckpointing == CheckpointAuto
	return d
}

// peak is what everything resident takes.
func (o PlanOptions) peak() (int64, error) {
	return o.demand().estimate(gpu.NewDryDiscrete(), residentPeak)
}

// choices tries every way to treat activations.
func (o PlanOptions) choices() (all []Choice, err error) {
	for _, o.ActivationDType = range []string{ActivationsF32, ActivationsBF16} {
		for _, c := range checkpointing {
			o.GradientCheckpointing = c.name
			peak, err := o.peak()
			if err != nil {
				return nil, err
			}
			all = append(all, Choice{c.name, o.ActivationDType, peak})
		}
	}
	return all, nil
}

// largest finds how far each setting can go. What does not fit with everything that can be moved on the host does not fit.
func (o PlanOptions) largest(budget int64) (*Largest, error) {
	fits := func(o PlanOptions) (bool, error) {
		return o.demand().fits(gpu.NewDryDiscrete(), budget)
	}
	search := func(low, high int, with func(o *PlanOptions, n int)) (int, error) {
		for step := low; low < high; {
			next := min(low+step, high)
			tried := o
			with(&tried, next)
			ok, err := fits(tried)
			switch {
			case err != nil:
				return 0, err
			case ok:
				low, step = next, step*2
			default:
				high, step = next-1, max(1, (next-1-low)/2)
			}
		}
		return low, nil
	}
	l := &Largest{}
	var err error
	if l.MaxSeqLength, err = search(o.MaxSeqLength, o.Shape.MaxPositions, func(o *PlanOptions, n int) { o.MaxSeqLength = n }); err != nil {
		return nil, err
	}
	if l.BatchSize, err = search(o.BatchSize, 4096, func(o *PlanOptions, n int) { o.BatchSize = n }); err != nil {
		return nil, err
	}
	l.LoraR, err = search(o.LoraR, 1024, func(o *PlanOptions, n int) { o.LoraR = n })
	return l, err
}

// advice tries the changes that a user would, one at a time.
func (o PlanOptions) advice() (best *Advice, err error) {
	now, err := o.peak()
	if err != nil {
		return nil, err
	}
	eightBit, isPaged := Config{Optim: o.Optim}.eightBit(), strings.HasPrefix(o.Optim, paged)
	eightBitName := strings.Replace(o.Optim, adamW32bit, adamW8bit, 1)
	for _, change := range []struct {
		setting  string
		possible bool
		from, to any
		with     func(o *PlanOptions)
	}{
		{"gradient_checkpointing", o.GradientCheckpointing != CheckpointFull, o.GradientCheckpointing, CheckpointFull, func(o *PlanOptions) { o.GradientCheckpointing = CheckpointFull }},
		{"activation_dtype", o.ActivationDType == ActivationsF32, ActivationsF32, ActivationsBF16, func(o *PlanOptions) { o.ActivationDType = ActivationsBF16 }},
		{"optim", !eightBit, o.Optim, eightBitName, func(o *PlanOptions) { o.Optim = eightBitName }},
		{"optim", !isPaged, o.Optim, paged + o.Optim, func(o *PlanOptions) { o.Optim = paged + o.Optim }},
		{"batch_size", o.BatchSize > 1, o.BatchSize, o.BatchSize / 2, func(o *PlanOptions) { o.BatchSize /= 2 }},
		{"max_seq_length", o.MaxSeqLength >= 256, o.MaxSeqLength, o.MaxSeqLength / 2, func(o *PlanOptions) { o.MaxSeqLength /= 2 }},
		{"lora_r", o.LoraR > 1, o.LoraR, o.LoraR / 2, func(o *PlanOptions) { o.LoraR /= 2 }},
	} {
		if !change.possible {
			continue
		}
		changed := o
		change.with(&changed)
		then, err := changed.peak()
		if err != nil {
			return nil, err
		}
		if frees := now - then; frees > 0 && (best == nil || frees > best.Frees) {
			best = &Advice{change.setting, fmt.Sprint(change.from), fmt.Sprint(change.to), frees}
		}
	}
	return best, nil
}

// String is the report for people.
func (r *PlanReport) String() string {
	s := fmt.Sprintf("%s, micro-batches of %d tokens\n%s\n", r.Model, r.Tokens, describePlan(r.Plan))
	s += fmt.Sprintf("gradient_checkpointing: %s, activation_dtype: %s. The peaks with everything resident:", r.GradientCheckpointing, r.ActivationDType)
	for i, c := range r.Choices {
		separator := ","
		if i%len(checkpointing) == 0 {
			separator = "\n  " + c.ActivationDType + ":"
		}
		s += fmt.Sprintf("%s %s %s", separator, c.GradientCheckpointing, paging.Size(c.Peak))
	}
	s += "\n"
	if r.Traffic > 0 {
		s += fmt.Sprintf("Paging moves %s a step: at most %.2f s at %g GB/s, less as far as the device computes meanwhile.\n", paging.Size(r.Traffic), r.PagingSeconds, r.Bandwidth)
	}
	if r.Largest != nil {
		s += fmt.Sprintf("The budget holds max_seq_length up to %d, or batch_size up to %d, or lora_r up to %d, the other settings as they are.\n", r.Largest.MaxSeqLength, r.Largest.BatchSize, r.Largest.LoraR)
	}
	if r.Advice != nil {
		s += fmt.Sprintf("One change frees most: %s %s instead of %s, %s of the resident peak.\n", r.Advice.Setting, r.Advice.To, r.Advice.From, paging.Size(r.Advice.Frees))
	}
	return s
}
