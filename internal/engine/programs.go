package engine

import (
	"errors"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/paging"
)

// The arena's programs.
const (
	programTrain    = "train"
	programUpdate   = "update"
	programEvaluate = "evaluate"
	programPrefill  = "prefill"
	programDecode   = "decode"
)

// ReserveTraining lays out the memory of micro-batches of up to maxTokens.
func (e *Engine) ReserveTraining(maxTokens int) error {
	if err := e.planTraining(maxTokens); err != nil {
		return err
	}
	return e.reserve(maxTokens)
}

// ReserveEvaluation lays out the memory of evaluation batches of up to maxTokens.
func (e *Engine) ReserveEvaluation(maxTokens int) error {
	if err := e.planEvaluation(maxTokens); err != nil {
		return err
	}
	return e.reserve(maxTokens)
}

func (e *Engine) planTraining(maxTokens int) error {
	switch {
	case e.plan.MappedState:
		if err := e.mapSlots(); err != nil {
			return err
		}
	case e.plan.PagedState:
		e.arena.Plan(programUpdate, func(rec *gpu.Recorder) { e.slotsInArena() })
	}
	return e.record(programTrain, maxTokens, func(rec *gpu.Recorder) { e.trainPass(rec, Worst(maxTokens), 0) })
}

func (e *Engine) planEvaluation(maxTokens int) error {
	return e.record(programEvaluate, maxTokens, func(rec *gpu.Recorder) { e.evaluatePass(rec, Worst(maxTokens), model.CrossEntropy{}) })
}

// record plans a program by a dry recording: where its tensors lie, and in what order it uses frozen pages.
func (e *Engine) record(program string, tokens int, record func(rec *gpu.Recorder)) (err error) {
	if err := e.Model.SetMaxPositions(tokens); err != nil {
		return err
	}
	defer func() {
		var large *gpu.TooLarge
		if r := recover(); r != nil {
			if ok := asTooLarge(r, &large); !ok {
				panic(r)
			}
			err = usererr.New("plan memory", "", "a micro-batch of %d tokens: %w", tokens, large).Hinted("lower batch_size or max_seq_length")
		}
	}()
	e.sizes[program] = model.Size{Tokens: tokens, Chunk: e.ChunkTokens}
	e.Model.Store().Log(program, func() {
		rec := e.arena.Plan(program, record)
		e.named = append(e.named, rec.Kernels()...)
		if program == programTrain {
			e.planned = rec.Cost
		}
	})
	return nil
}

// reserve makes the arena's buffers.
func (e *Engine) reserve(tokens int) error {
	if err := e.arena.Reserve(); err != nil {
		return usererr.New("plan memory", "", "a micro-batch of %d tokens: %w", tokens, err).
			Hinted("lower batch_size or max_seq_length, or set gradient_checkpointing to full")
	}
	return nil
}

// begin starts a planned program.
func (e *Engine) begin(program string) {
	e.arena.Begin(program)
	e.Model.Store().Begin(program)
}

// stateSlots are the places through which pages of optimizer state go.
func (e *Engine) stateSlots(transport paging.Transport, place func(name string, words int) *gpu.Tensor) *optim.Pager {
	p := &optim.Pager{Transport: transport}
	words := e.Adapter.State.SlotWords(e.plan.StatePageElements)
	for range paging.StateSlots {
		p.Slots = append(p.Slots, [2]*gpu.Tensor{place("first moments", words), place("second moments", words)})
	}
	return p
}

// slotsInArena are places in the running program.
func (e *Engine) slotsInArena() *optim.Pager {
	return e.stateSlots(e.Model.Store().Staging(), func(name string, words int) *gpu.Tensor { return e.arena.New(name, gpu.F32, 1, words) })
}

// mapSlots makes places that the host maps.
func (e *Engine) mapSlots() (err error) {
	if e.mapped != nil {
		return nil
	}
	e.mapped = e.stateSlots(e.Model.Store().Direct(), func(name string, words int) *gpu.Tensor {
		t := &gpu.Tensor{Name: name, DType: gpu.F32, Rows: 1, Cols: words}
		b, failed := e.Device.NewMappableBuffer(name, t.Bytes())
		if failed != nil {
			err = errors.Join(err, failed)
			return t
		}
		t.Shards = []gpu.Shard{{Range: b.All(), Rows: 1}}
		return t
	})
	return err
}

// Update records the optimizer's update.
func (e *Engine) Update(rec *gpu.Recorder, targets int, settings optim.Settings) {
	pager := e.mapped
	if e.plan.PagedState && pager == nil {
		e.arena.Begin(programUpdate)
		pager = e.slotsInArena()
		e.arena.End()
	}
	e.Adapter.State.Update(rec, targets, settings, pager)
}
