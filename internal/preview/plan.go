package preview

import (
	"fmt"
	"strings"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/paging"
)

// run is what memory is planned for: settings over a model's shape.
type run struct {
	settings.Train
	shape spec.Spec
}

// Report is what `plan` tells.
type Report struct {
	Model  string `json:"model"`
	Tokens int    `json:"tokens"` // of a micro-batch
	// GradientCheckpointing is what auto amounts to, or what was given; Choices are the peaks with all of its values, and
	// those of ActivationDType.
	GradientCheckpointing string   `json:"gradient_checkpointing"`
	ActivationDType       string   `json:"activation_dtype"`
	Choices               []Choice `json:"choices"`
	*paging.Plan
	Bandwidth float64 `json:"bandwidth_gb_per_s"`
	// PagingSeconds is what the traffic of a step takes at the bandwidth; as far as the device computes meanwhile it costs
	// less.
	PagingSeconds float64  `json:"paging_seconds_per_step"`
	Largest       *Largest `json:"largest,omitempty"` // with a budget
	Advice        *Advice  `json:"frees_most,omitempty"`
	// KeysAndValues are held where the model answers, prompt and answer together as long as a row may be.
	KeysAndValues int64 `json:"keys_and_values_bytes"`
	MaxSeqLength  int   `json:"max_seq_length"`
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

// Plan plans a run's memory on a dry device with WebGPU's default limits; it needs no GPU. name is the model's. Errors
// are *usererr.Error: settings out of range, a budget that is too small, a shape that no kernel holds.
func Plan(c settings.Plan, shape spec.Spec, name string) (*Report, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if limit := shape.MaxPositions; c.MaxSeqLength > limit {
		return nil, settings.Wrong("max_seq_length", fmt.Sprint(c.MaxSeqLength), fmt.Sprintf("at most %d, the model's own limit", limit))
	}
	if err := engine.CheckQuantization(shape, c.Quantization); err != nil {
		return nil, err
	}
	budget, err := c.Budget.Bytes()
	if err != nil {
		return nil, err
	}
	o := run{c.Training(), shape}
	plan, err := o.demand().Plan(gpu.NewDryDiscrete(), budget)
	if err != nil {
		return nil, engine.About(err, name)
	}
	r := &Report{
		Model: name, Tokens: o.demand().Tokens, GradientCheckpointing: o.GradientCheckpointing, ActivationDType: o.ActivationDType,
		Plan: plan, Bandwidth: c.Bandwidth, PagingSeconds: float64(plan.Traffic) / (c.Bandwidth * 1e9),
	}
	if budget > 0 {
		if r.Largest, err = o.largest(budget); err != nil {
			return nil, err
		}
	}
	if o.GradientCheckpointing == settings.CheckpointAuto {
		o.GradientCheckpointing = engine.CheckpointingOf(plan.Activations)
		r.GradientCheckpointing = o.GradientCheckpointing
	}
	if r.Choices, err = o.choices(); err != nil {
		return nil, err
	}
	if r.Advice, err = o.advice(); err != nil {
		return nil, err
	}
	answer := o.demand()
	answer.AnswerTokens, r.MaxSeqLength = o.MaxSeqLength, o.MaxSeqLength
	r.KeysAndValues, err = answer.KeysAndValues(gpu.NewDryDiscrete())
	return r, err
}

func (o run) demand() engine.Demand { return engine.TrainingDemand(o.shape, o.Train) }

// peak is what everything resident takes.
func (o run) peak() (int64, error) {
	return o.demand().Estimate(gpu.NewDryDiscrete(), engine.ResidentPeak)
}

// choices tries every way to treat activations.
func (o run) choices() (all []Choice, err error) {
	for _, o.ActivationDType = range []string{settings.ActivationsF32, settings.ActivationsBF16} {
		for _, c := range engine.Checkpointing {
			o.GradientCheckpointing = c.Name
			peak, err := o.peak()
			if err != nil {
				return nil, err
			}
			all = append(all, Choice{c.Name, o.ActivationDType, peak})
		}
	}
	return all, nil
}

// largest finds how far each setting can go. What does not fit with everything that can be moved on the host does not
// fit.
func (o run) largest(budget int64) (*Largest, error) {
	fits := func(o run) (bool, error) {
		return o.demand().Fits(gpu.NewDryDiscrete(), budget)
	}
	search := func(low, high int, with func(o *run, n int)) (int, error) {
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
	if l.MaxSeqLength, err = search(o.MaxSeqLength, o.shape.MaxPositions, func(o *run, n int) { o.MaxSeqLength = n }); err != nil {
		return nil, err
	}
	if l.BatchSize, err = search(o.BatchSize, 4096, func(o *run, n int) { o.BatchSize = n }); err != nil {
		return nil, err
	}
	l.LoraR, err = search(o.LoraR, 1024, func(o *run, n int) { o.LoraR = n })
	return l, err
}

// advice tries the changes that a user would, one at a time.
func (o run) advice() (best *Advice, err error) {
	now, err := o.peak()
	if err != nil {
		return nil, err
	}
	eightBitName := strings.Replace(o.Optim, settings.AdamW32bit, settings.AdamW8bit, 1)
	for _, change := range []struct {
		setting  string
		possible bool
		from, to any
		with     func(o *run)
	}{
		{"gradient_checkpointing", o.GradientCheckpointing != settings.CheckpointFull,
			o.GradientCheckpointing, settings.CheckpointFull, func(o *run) {
				o.GradientCheckpointing = settings.CheckpointFull
			}},
		{"activation_dtype", o.ActivationDType == settings.ActivationsF32, settings.ActivationsF32, settings.ActivationsBF16, func(o *run) {
			o.ActivationDType = settings.ActivationsBF16
		}},
		{"quantization", o.Quantize != settings.QuantizedNF4, o.Quantize, settings.QuantizedNF4, func(o *run) {
			o.Quantize = settings.QuantizedNF4
		}},
		{"optim", !o.EightBit(), o.Optim, eightBitName, func(o *run) { o.Optim = eightBitName }},
		{"optim", !o.PagedState(), o.Optim, settings.Paged + o.Optim, func(o *run) { o.Optim = settings.Paged + o.Optim }},
		{"batch_size", o.BatchSize > 1, o.BatchSize, o.BatchSize / 2, func(o *run) { o.BatchSize /= 2 }},
		{"max_seq_length", o.MaxSeqLength >= 256, o.MaxSeqLength, o.MaxSeqLength / 2, func(o *run) { o.MaxSeqLength /= 2 }},
		{"lora_r", o.LoraR > 1, o.LoraR, o.LoraR / 2, func(o *run) { o.LoraR /= 2 }},
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
func (r *Report) String() string {
	s := fmt.Sprintf("%s, micro-batches of %d tokens\n%s\n", r.Model, r.Tokens, r.Plan.String())
	s += fmt.Sprintf("gradient_checkpointing: %s, activation_dtype: %s. The peaks with everything resident:",
		r.GradientCheckpointing, r.ActivationDType)
	for i, c := range r.Choices {
		separator := ","
		if i%len(engine.Checkpointing) == 0 {
			separator = "\n  " + c.ActivationDType + ":"
		}
		s += fmt.Sprintf("%s %s %s", separator, c.GradientCheckpointing, paging.Size(c.Peak))
	}
	s += "\n"
	if r.Traffic > 0 {
		s += fmt.Sprintf("Paging moves %s a step: at most %.2f s at %g GB/s, less as far as the device computes meanwhile.\n",
			paging.Size(r.Traffic), r.PagingSeconds, r.Bandwidth)
	}
	if r.Largest != nil {
		s += fmt.Sprintf("The budget holds max_seq_length up to %d, or batch_size up to %d, or lora_r up to %d, the other settings as "+
			"they are.\n",
			r.Largest.MaxSeqLength, r.Largest.BatchSize, r.Largest.LoraR)
	}
	if r.Advice != nil {
		s += fmt.Sprintf("One change frees most: %s %s instead of %s, %s of the resident peak.\n",
			r.Advice.Setting, r.Advice.To, r.Advice.From, paging.Size(r.Advice.Frees))
	}
	s += fmt.Sprintf("Answers, with their prompts up to %d tokens, hold %s of keys and values beside the weights.\n",
		r.MaxSeqLength, paging.Size(r.KeysAndValues))
	return s
}
