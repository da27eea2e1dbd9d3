package trainer

import (
	"context"
	"errors"
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// adapter is the configuration of a fresh adapter.
func (c Config) adapter() lora.Config {
	return lora.Config{Rank: c.LoraR, Alpha: c.LoraAlpha, RSLoRA: c.UseRSLora, Dropout: c.LoraDropout, Targets: c.LoraTargetModules}
}

// demand is what the run asks of memory.
func (r *run) demand(in Inputs) demand {
	c := r.config
	d := demand{
		shape: r.session.source.Spec, blockSize: c.BlockSize, adapter: c.adapter(), tokens: r.stream.MaxTokens(), evalTokens: longest(r.val),
		microBatches: c.GradientAccumulationSteps, eightBit: c.eightBit(), start: c.decisions(), auto: c.GradientCheckpointing == CheckpointAuto,
	}
	if in.Adapter != nil {
		d.adapter = in.Adapter.Config
	}
	return d
}

// prepareMemory plans where everything lies, measures the kernels, and takes all memory before step 1.
func (r *run) prepareMemory(ctx context.Context, in Inputs) error {
	s, c := r.session, r.config
	budget, err := r.budget(in)
	if err != nil {
		return err
	}
	d := r.demand(in)
	if _, err := model.New(d.shape, s.dev.Twin(), d.blockSize, nil); err != nil {
		return s.about(err)
	}
	typical := d
	typical.tokens, typical.evalTokens = max(1, r.stream.MeanTokens()), 0
	for _, asks := range []demand{typical, d} { // for variants: those of most steps are measured first
		_, named, err := asks.record(s.dev)
		if err != nil {
			return err
		}
		s.dev.CompileAhead(named)
	}
	if err := s.check(ctx); err != nil {
		return err
	}
	if err := s.tune(ctx); err != nil {
		return err
	}
	if budget == 0 && s.dev.Info.Type == "discrete" {
		if budget, err = r.probe(ctx, d); err != nil {
			return err
		}
	}
	for {
		if r.plan, err = d.plan(s.dev, budget); err != nil {
			return err
		}
		if err := enoughHost(in, r.plan, s.dev.Info.SharesHostMemory()); err != nil {
			return err
		}
		if short, err := r.checkRoom(s.dev, in, r.plan); err != nil {
			return err
		} else if short != nil {
			return short.error()
		}
		s.dev.ReleaseScratch()
		if budget > 0 && r.config.VRAMBudget != "" {
			s.dev.LimitMemory(budget) // it is a promise
		}
		err = r.takeMemory(ctx, in.Adapter, d.tokens, d.evalTokens)
		var full *gpu.OutOfMemory
		if err == nil || !errors.As(err, &full) {
			break
		}
		r.releaseMemory()
		// The device has less than was thought, but at least what it held when it refused.
		budget = max(full.InUse, r.plan.Peak/2) / 100 * 95
		s.emit(Event{Kind: "warning", Message: fmt.Sprintf("%v. Planning again for %s.", full, paging.Size(budget))})
	}
	if err != nil {
		return err
	}
	r.describeAdapter()
	if d.auto {
		r.config.GradientCheckpointing = checkpointingOf(r.plan.Activations) // a resumed run goes on with it
		s.info("%s", describeAuto(r.plan))
	}
	s.emit(Event{Kind: "plan", Message: describePlan(r.plan), Memory: r.plan})
	s.emit(Event{Kind: "plan", Message: fmt.Sprintf("Plan: %d steps of %d × %d sequences, learning rate %g (%s, %d steps of warm-up), about %.2f epochs",
		r.totalSteps, c.GradientAccumulationSteps, c.BatchSize, c.LearningRate, c.LRSchedulerType, r.schedule.Warmup,
		float64(r.totalSteps*c.GradientAccumulationSteps)/float64(r.stream.BatchesPerEpoch()))})
	return nil
}

// tellReserved tells what was taken in the end, with the memory for answers.
func (r *run) tellReserved() {
	s := r.session
	params, moments := r.adapter.State.Bytes()
	s.emit(Event{Kind: "plan", Plan: &PlanStats{
		Steps: r.totalSteps, Device: s.dev.Bytes(), Frozen: s.model.FrozenBytes(), State: params + moments, Activations: r.engine.arena.Bytes(), MaxTokens: r.stream.MaxTokens(),
	}})
}

// takeMemory makes every buffer of the run.
func (r *run) takeMemory(ctx context.Context, from *AdapterFiles, tokens, evalTokens int) error {
	s := r.session
	if err := s.dev.SetRings(r.plan.RingBytes); err != nil {
		return err
	}
	s.dev.ResetPeak() // larger rings may have been there before
	if err := s.load(ctx, r.plan); err != nil {
		return err
	}
	if err := r.prepareAdapter(from); err != nil {
		return err
	}
	var err error
	if r.engine, err = NewEngine(s.dev, s.model, r.adapter, r.plan, r.config.Seed); err != nil {
		return err
	}
	if err := r.engine.planTraining(tokens); err != nil {
		return err
	}
	if evalTokens > 0 {
		if err := r.engine.planEvaluation(evalTokens); err != nil {
			return err
		}
	}
	return r.engine.reserve(tokens)
}

// releaseMemory frees what takeMemory made, as far as it came.
func (r *run) releaseMemory() {
	if r.engine != nil {
		r.engine.Release()
	}
	if r.adapter != nil {
		r.adapter.Detach()
	}
	if r.session.model != nil {
		r.session.model.Release()
	}
	r.engine, r.adapter, r.session.model = nil, nil, nil
}

// budget is the device memory that the run may take; 0: as much as there is.
func (r *run) budget(in Inputs) (int64, error) {
	dev := r.session.dev
	budget, err := givenBudget(r.config.VRAMBudget, dev, in)
	if total, available := sharedMemory(dev, in); err == nil && total > 0 {
		dev.LimitMemory(total) // beyond it the system kills
		if budget == 0 {
			budget = available / 2 // such a device has no memory of its own
		}
	}
	return budget, err
}

// givenBudget is what the user named, in bytes; 0: nothing.
func givenBudget(text string, dev *gpu.Device, in Inputs) (int64, error) {
	budget, err := ParseBudget(text)
	if total, _ := sharedMemory(dev, in); err == nil && total > 0 && budget > total {
		return 0, wrong("vram_budget", text, "at most the memory of this machine, "+paging.Size(total)+", which the device shares")
	}
	return budget, err
}

// sharedMemory is the host's, where the device has none of its own and the system tells; else 0.
func sharedMemory(dev *gpu.Device, in Inputs) (total, available int64) {
	if in.HostMemory == nil || !dev.Info.SharesHostMemory() {
		return 0, 0
	}
	return in.HostMemory()
}

// probe is the budget that a graphics card sets where the user does not: 0 where it holds a run with everything resident.
func (r *run) probe(ctx context.Context, d demand) (int64, error) {
	s := r.session
	all, err := d.plan(s.dev, 0)
	if err != nil {
		return 0, err
	}
	s.dev.ReleaseScratch()
	held, slow := s.measured.Memory, true
	if held == 0 || s.options.Autotune == "force" {
		if held, slow, err = paging.Probe(ctx, s.dev, all.Peak-s.dev.Bytes()); err != nil {
			return 0, fmt.Errorf("%w: probe of the device's memory: %w", ErrEngineFault, err)
		}
		held += s.dev.Bytes()
		// Where the driver refuses, asking again costs nothing, and something else may have been in the card before.
		if s.measured.Memory = 0; slow {
			s.measured.Memory = held
			s.saveMeasurements()
		}
	}
	if held >= all.Peak {
		return 0, nil
	}
	how := "holds"
	if slow {
		how = "is fast with at most"
	}
	budget := max(held/100*95, 1)
	s.info("The device %s %s, a run with everything resident takes %s: planning for %s (--vram-budget says otherwise).", how, paging.Size(held), paging.Size(all.Peak), paging.Size(budget))
	return budget, nil
}

// enoughHost refuses a plan that the host cannot hold, together with the device's part where they share their memory.
func enoughHost(in Inputs, p *paging.Plan, shared bool) error {
	if in.HostMemory == nil {
		return nil
	}
	want := p.Host
	if shared {
		want += p.Peak
	}
	if _, available := in.HostMemory(); available > 0 && want > available {
		return usererr.New("plan memory", "", "the run takes %s of host memory, %s are free", paging.Size(want), paging.Size(available)).
			Hinted("free memory, or choose a smaller model; where the device has memory of its own, a higher --vram-budget helps")
	}
	return nil
}
