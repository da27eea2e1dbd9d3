package engine

import (
	"context"
	"errors"
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// Trainable is what Prepare puts over the frozen model.
type Trainable struct {
	Fill func(*lora.Adapter) error // gives the attached adapter its values; nil: they stay zero
	Seed uint64                    // of the dropout masks
	Cuts []Cut                     // of settings, that would make the demand smaller
}

// Prepare gets everything ready for what is demanded, in the one order in which each part knows what it needs: the
// shape is checked and the programs are recorded dry; from there the shaders compile, while the kernels are checked
// against the CPU; variants are measured, and the device's memory where it has its own; then all is planned, loaded and
// reserved.
//
// Errors are *usererr.Error where the model, the budget or the machine's memory do not allow the demand, ErrFault where
// the device fails, and ctx's. What was loaded before is freed first.
func (s *Session) Prepare(ctx context.Context, d Demand, with Trainable) (*Engine, error) {
	s.Unload()
	s.unlimit()
	budget, err := s.budget(d)
	if err != nil {
		return nil, err
	}
	if err := d.Check(s.Device); err != nil {
		return nil, s.about(err)
	}
	if err := s.recordAhead(ctx, d); err != nil {
		return nil, err
	}
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	if d.worthMeasuring() {
		if err := s.tune(ctx); err != nil {
			return nil, err
		}
	}
	if d.trains() && budget == 0 && s.Device.Info.Type == "discrete" {
		if budget, err = s.probe(ctx, d); err != nil {
			return nil, err
		}
	}
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		plan, err := s.plan(d, budget, with.Cuts)
		if err != nil {
			return nil, err
		}
		err = s.take(ctx, d, plan, with)
		var full *gpu.OutOfMemory
		if err == nil {
			s.describe(d, plan)
			return s.engine, nil
		}
		s.Unload()
		if !errors.As(err, &full) {
			return nil, err
		}
		// The device has less than was thought, but at least what it held when it refused.
		budget = max(full.InUse, plan.Peak/2) / 100 * 95
		if budget >= plan.Peak { // of which another session on the device holds a part
			budget = plan.Peak / 4 * 3
		}
		s.warn("%v. Planning again for %s.", full, paging.Size(budget))
	}
}

// Plan is the plan that Prepare makes of the demand where the device has what it says.
func (s *Session) Plan(d Demand) (*paging.Plan, error) {
	defer s.unlimit()
	budget, err := s.budget(d)
	if err != nil {
		return nil, err
	}
	plan, err := d.Plan(s.Device, budget)
	return plan, s.about(err)
}

// Extend reserves what an engine without a budget needs to evaluate and answer more than it was prepared for: its
// weights stay where they are.
func (s *Session) Extend(ctx context.Context, d Demand) error {
	if err := s.engine.reserveInference(d); err != nil {
		return err
	}
	if d.worthMeasuring() {
		return s.tune(ctx)
	}
	return nil
}

// recordAhead asks for the variants of all kernels, those of most steps first, and has the shaders of training compiled
// meanwhile.
func (s *Session) recordAhead(ctx context.Context, d Demand) error {
	if !d.trains() {
		_, err := d.recordInference(s.Device)
		return err
	}
	demands := []Demand{d}
	if d.TypicalTokens > 0 {
		typical := d
		typical.Tokens, typical.EvalTokens = d.TypicalTokens, 0
		demands = []Demand{typical, d}
	}
	for _, asks := range demands {
		_, named, err := asks.record(s.Device)
		if err != nil {
			return err
		}
		s.Device.CompileAhead(ctx, named)
	}
	return nil
}

// plan makes the plan for a budget, and bounds what the device gives by what the user promised.
func (s *Session) plan(d Demand, budget int64, cuts []Cut) (*paging.Plan, error) {
	plan, err := d.Plan(s.Device, budget)
	if err != nil {
		return nil, err
	}
	if err := s.enoughHost(plan); err != nil {
		return nil, err
	}
	short, err := s.options.Room.Shortage(s.Device, d, plan, cuts)
	if err != nil {
		return nil, err
	}
	if short != nil {
		return nil, short.error()
	}
	s.Device.ReleaseScratch()
	if budget > 0 && s.options.Budget > 0 {
		s.limit(budget) // it is a promise
	}
	return plan, nil
}

// take loads the model and makes every buffer.
func (s *Session) take(ctx context.Context, d Demand, plan *paging.Plan, with Trainable) error {
	if err := s.Device.SetRings(plan.RingBytes); err != nil {
		return err
	}
	s.Device.ResetPeak() // larger rings may have been there before
	if err := s.load(ctx, d, plan); err != nil {
		return err
	}
	adapter, err := s.attach(d, plan, with.Fill)
	if err != nil {
		return err
	}
	if s.engine, err = New(s.Device, s.model, adapter, plan, with.Seed); err != nil {
		if adapter != nil {
			adapter.Detach()
		}
		return err
	}
	if !d.trains() {
		return s.engine.reserveInference(d)
	}
	if err := s.engine.planTraining(d.Tokens); err != nil {
		return err
	}
	if d.EvalTokens > 0 {
		if err := s.engine.planEvaluation(d.EvalTokens); err != nil {
			return err
		}
	}
	return s.engine.reserve(d.Tokens)
}

// attach puts the adapter on the model's linears and fills it; nil: the base model alone.
func (s *Session) attach(d Demand, plan *paging.Plan, fill func(*lora.Adapter) error) (*lora.Adapter, error) {
	if d.Adapter.Rank == 0 {
		return nil, nil
	}
	state := inferenceState
	if d.trains() {
		state = optim.Options{EightBit: d.EightBit, Paged: plan.PagedState}
	}
	adapter, err := lora.Attach(s.Device, s.model.Linears(), d.Adapter, state)
	if err != nil {
		return nil, err
	}
	if fill != nil {
		if err := fill(adapter); err != nil {
			adapter.Detach()
			return nil, err
		}
	}
	return adapter, nil
}

// describe tells what is there now.
func (s *Session) describe(d Demand, plan *paging.Plan) {
	if adapter := s.engine.Adapter; adapter != nil {
		made := ""
		if base := adapter.Config.MadeFor(); base != "" && base != s.options.Model && base != s.Source.Name {
			made = ", made for " + base // another model may have the same linears
		}
		s.info("Adapter: %s%s", adapter.Config, made)
		for _, warning := range adapter.Warnings {
			s.warn("%s", warning)
		}
		if d.trains() {
			trainable := adapter.Parameters()
			all := s.model.Parameters() + trainable
			s.info("trainable params: %s || all params: %s || trainable%%: %.4f",
				thousands(trainable), thousands(all), 100*float64(trainable)/float64(all))
		}
	}
	if d.Auto {
		s.info("%s", describeAuto(plan))
	}
	if d.trains() || plan.Budget > 0 {
		s.emit(events.Memory{Plan: plan})
	}
}

func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// budget is the device memory that may be taken; 0: as much as there is.
func (s *Session) budget(d Demand) (int64, error) {
	budget := s.options.Budget
	total, available := s.sharedMemory()
	if total > 0 && budget > total {
		return 0, usererr.New("settings", "", "vram_budget is %s, allowed: at most the memory of this machine, %s, which the device shares",
			paging.Size(budget), paging.Size(total))
	}
	if total > 0 && d.trains() {
		s.limit(total) // beyond it the system kills
		if budget == 0 {
			budget = available / 2 // such a device has no memory of its own
		}
	}
	return budget, nil
}

// sharedMemory is the host's, where the device has none of its own and the system tells; else 0.
func (s *Session) sharedMemory() (total, available int64) {
	if s.options.HostMemory == nil || !s.Device.Info.SharesHostMemory() {
		return 0, 0
	}
	return s.options.HostMemory()
}

// probe is the budget that a graphics card sets where the user does not: 0 where it holds a run with everything
// resident.
func (s *Session) probe(ctx context.Context, d Demand) (int64, error) {
	all, err := d.Plan(s.Device, 0)
	if err != nil {
		return 0, err
	}
	s.Device.ReleaseScratch()
	held, slow := s.measured.Memory, true
	if held == 0 || s.options.Autotune == "force" {
		if held, slow, err = paging.Probe(ctx, s.Device, all.Peak-s.Device.Bytes()); err != nil {
			return 0, fmt.Errorf("%w: probe of the device's memory: %w", ErrFault, err)
		}
		held += s.Device.Bytes()
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
	s.info("The device %s %s, a run with everything resident takes %s: planning for %s (--vram-budget says otherwise).",
		how, paging.Size(held), paging.Size(all.Peak), paging.Size(budget))
	return budget, nil
}

// enoughHost refuses a plan that the host cannot hold, together with the device's part where they share their memory.
func (s *Session) enoughHost(p *paging.Plan) error {
	if s.options.HostMemory == nil {
		return nil
	}
	want := p.Host
	if s.Device.Info.SharesHostMemory() {
		want += p.Peak
	}
	if _, available := s.options.HostMemory(); available > 0 && want > available {
		return usererr.New("plan memory", "", "the run takes %s of host memory, %s are free", paging.Size(want), paging.Size(available)).
			Hinted("free memory, or choose a smaller model; where the device has memory of its own, a higher --vram-budget helps")
	}
	return nil
}
