package trainer

import (
	"context"
	"errors"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// extent is what memory is wanted for beside the weights: answers, evaluations, or both.
type extent struct {
	room       int // tokens of a prompt and its answer; 0: no answers
	evalTokens int // of the longest sequence; 0: no evaluation
}

// reserveExtent lays out the memory of answers and evaluations; the generator is nil where there are no answers.
func (e *Engine) reserveExtent(want extent) (g *Generator, err error) {
	if err := e.Model.SetMaxPositions(max(want.room, want.evalTokens)); err != nil {
		return nil, err
	}
	if want.room > 0 {
		if g, err = e.NewGenerator(want.room); err != nil {
			return nil, err
		}
	}
	if want.evalTokens > 0 {
		err = e.ReserveEvaluation(want.evalTokens)
	}
	return g, err
}

// recordInference runs an evaluation and the passes of an answer on a dry twin of the device, and tells what they need.
func (d demand) recordInference(dev *gpu.Device, want extent) (*paging.Recording, error) {
	twin := dev.Twin()
	m, r, ring, err := d.streamed(twin)
	if err != nil {
		return nil, err
	}
	r.MicroBatches = 1
	var adapter *lora.Adapter
	if d.adapter.Rank > 0 {
		if adapter, err = lora.Attach(twin, m.Linears(), d.adapter, inferenceState); err != nil {
			return nil, err
		}
		r.Adapter, _ = adapter.State.Bytes()
	}
	e, err := NewEngine(twin, m, adapter, nil, 0)
	if err != nil {
		return nil, err
	}
	if _, err := e.reserveExtent(want); err != nil {
		return nil, err
	}
	r.Arenas = []paging.ArenaShape{{Activations: paging.Recompute, Buffers: e.arena.BufferSizes()}}
	r.Fixed = []paging.Row{{Name: "tables, keys and values", Where: "resident", Device: twin.Bytes() - ring - r.Adapter - e.arena.Bytes()}}
	for _, program := range []string{programEvaluate, programPrefill, programDecode} { // what runs most comes last: its traffic is told
		if accesses := m.Store().Accesses(program); accesses != nil {
			r.Schedule = paging.NewSchedule(accesses)
			r.Together = max(r.Together, r.Schedule.Together())
		}
	}
	return r, nil
}

// inferenceState keeps moments off the device: nothing trains.
var inferenceState = optim.Options{Paged: true}

// planInference makes the plan for a budget in bytes.
func (d demand) planInference(dev *gpu.Device, want extent, budget int64) (*paging.Plan, error) {
	r, err := d.recordInference(dev, want)
	if err != nil {
		return nil, err
	}
	p, err := paging.NewPlan(r, budget, paging.Decisions{})
	var small *paging.TooSmall
	if errors.As(err, &small) {
		return nil, usererr.New("plan memory", "", "%w", err).Hinted("give --vram-budget at least %s, or lower max_tokens or max_seq_length", paging.Size(small.Minimum+1<<19))
	}
	return p, err
}

// place loads the model and takes the memory for what is wanted. With a budget, wanting more than before loads again, as far as possible from the cache.
func (a *Answerer) place(ctx context.Context, more extent) error {
	s := a.session
	want := extent{max(a.extent.room, more.room), max(a.extent.evalTokens, more.evalTokens)}
	if s.model != nil && (a.budget == 0 || want == a.extent) {
		return nil
	}
	a.unload()
	if err := s.check(ctx); err != nil {
		return err
	}
	var plan *paging.Plan
	if a.budget > 0 {
		s.dev.LimitMemory(0)
		d := demand{shape: s.source.Spec, blockSize: s.options.BlockSize, tokens: max(want.evalTokens, min(want.room, prefillChunk))}
		if a.files != nil {
			d.adapter = a.files.Config
		}
		if _, err := model.New(d.shape, s.dev.Twin(), d.blockSize, nil); err != nil {
			return s.about(err)
		}
		if _, err := d.recordInference(s.dev, want); err != nil { // asks for all variants
			return err
		}
		if err := s.tune(ctx); err != nil {
			return err
		}
		var err error
		if plan, err = d.planInference(s.dev, want, a.budget); err != nil {
			return err
		}
		s.emit(Event{Kind: "plan", Message: describePlan(plan), Memory: plan})
		s.dev.ReleaseScratch()
		s.dev.LimitMemory(a.budget)
		if err := s.dev.SetRings(plan.RingBytes); err != nil {
			return err
		}
		s.dev.ResetPeak()
	}
	if err := s.load(ctx, plan); err != nil {
		return err
	}
	var err error
	if a.files != nil {
		if a.adapter, err = s.attach(a.files.Config, inferenceState, a.files.Tensors, a.files.Path); err != nil {
			return err
		}
		s.info("Adapter: %s", a.files.Config)
	}
	if a.engine, err = NewEngine(s.dev, s.model, a.adapter, plan, 0); err != nil {
		return err
	}
	a.generator, err = a.engine.reserveExtent(want)
	a.extent = want
	return err
}

// unload frees what place took.
func (a *Answerer) unload() {
	if a.generator != nil {
		a.generator.Release()
	}
	if a.engine != nil {
		a.engine.Release()
	}
	if a.adapter != nil {
		a.adapter.Detach()
	}
	if a.session != nil && a.session.model != nil {
		a.session.model.Release()
		a.session.model = nil
	}
	a.generator, a.engine, a.adapter = nil, nil, nil
}
