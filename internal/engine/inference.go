package engine

import (
	"errors"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// reserveInference lays out the memory of evaluations and answers.
func (e *Engine) reserveInference(d Demand) (err error) {
	// once for the longer of both, or the shorter one's tables would be made in vain
	if err := e.Model.SetMaxPositions(max(d.AnswerTokens, d.EvalTokens)); err != nil {
		return err
	}
	if d.AnswerTokens > 0 {
		if err := e.ReserveAnswers(d.AnswerTokens); err != nil {
			return err
		}
		if err := e.reserveBase(d.BaseAnswers); err != nil {
			return err
		}
	}
	if d.EvalTokens > 0 {
		err = e.ReserveEvaluation(d.EvalTokens)
	}
	return err
}

// ReserveAnswers lays out the memory of sequences of up to so many tokens, prompt and answer together, for Generator.
func (e *Engine) ReserveAnswers(tokens int) (err error) {
	tokens = min(tokens, e.Model.Shape().MaxPositions)
	if e.generator != nil {
		if e.generator.Room() >= tokens {
			return nil
		}
		e.releaseGenerators()
	}
	e.generator, err = e.NewGenerator(tokens)
	return err
}

// reserveBase makes the generator of Base, with as much room as the other.
func (e *Engine) reserveBase(wanted bool) (err error) {
	if wanted && e.base == nil && e.Adapter != nil {
		e.base, err = e.generator.withoutAdapter()
	}
	return err
}

func (e *Engine) releaseGenerators() {
	for _, g := range []*Generator{e.generator, e.base} {
		if g != nil {
			g.Release()
		}
	}
	e.generator, e.base = nil, nil
}

// recordInference runs an evaluation and the passes of an answer on a dry twin of the device, and tells what they need.
func (d Demand) recordInference(dev *gpu.Device) (*paging.Recording, error) {
	twin := dev.Twin()
	m, r, ring, err := d.streamed(twin)
	if err != nil {
		return nil, err
	}
	r.MicroBatches = 1
	var adapter *lora.Adapter
	if d.Adapter.Rank > 0 {
		if adapter, err = lora.Attach(twin, m.Linears(), d.Adapter, inferenceState); err != nil {
			return nil, err
		}
		r.Adapter, _ = adapter.State.Bytes()
	}
	e, err := New(twin, m, adapter, nil, 0)
	if err != nil {
		return nil, err
	}
	defer e.Release()
	if err := e.reserveInference(d); err != nil {
		return nil, err
	}
	r.Arenas = []paging.ArenaShape{{Activations: paging.Recompute, Buffers: e.arena.BufferSizes()}}
	r.Fixed = []paging.Row{{Name: "tables, keys and values", Where: "resident", Device: twin.Bytes() - ring - r.Adapter - e.arena.Bytes()}}
	// what runs most comes last: its traffic is told
	for _, program := range []string{programEvaluate, programPrefill, programDecode} {
		if accesses := m.Store().Accesses(program); accesses != nil {
			r.Schedule = paging.NewSchedule(accesses)
			r.Together = max(r.Together, r.Schedule.Together())
		}
	}
	return r, nil
}

// KeysAndValues is what those of AnswerTokens take on the device, in bytes: most of what answers need beside the
// weights.
func (d Demand) KeysAndValues(dev *gpu.Device) (int64, error) {
	twin := dev.Twin()
	m, err := model.New(d.Shape, twin, d.Format, nil)
	if err != nil {
		return 0, err
	}
	before := twin.Bytes()
	_, err = m.NewCache(d.AnswerTokens, prefillChunk)
	return twin.Bytes() - before, err
}

// inferenceState keeps moments off the device: nothing trains.
var inferenceState = optim.Options{Paged: true}

// planInference makes the plan for a budget in bytes.
func (d Demand) planInference(dev *gpu.Device, budget int64) (*paging.Plan, error) {
	r, err := d.recordInference(dev)
	if err != nil {
		return nil, err
	}
	p, err := paging.NewPlan(r, budget, paging.Decisions{})
	var small *paging.TooSmall
	if errors.As(err, &small) {
		return nil, usererr.New("plan memory", "", "%w", err).
			Hinted("give --vram-budget at least %s, or lower max_tokens or max_seq_length", paging.Size(small.Minimum+1<<19))
	}
	return p, err
}
