package trainer

import (
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
	if e.plan.PagedState {
		e.arena.Plan(programUpdate, func(rec *gpu.Recorder) { e.stateSlots() })
	}
	return e.record(programTrain, maxTokens, func(rec *gpu.Recorder) { e.trainPass(rec, worst(maxTokens), 0) })
}

func (e *Engine) planEvaluation(maxTokens int) error {
	return e.record(programEvaluate, maxTokens, func(rec *gpu.Recorder) { e.evaluatePass(rec, worst(maxTokens)) })
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
	e.Model.Store().Log(program, func() { e.named = append(e.named, e.arena.Plan(program, record).Kernels()...) })
	return nil
}

// reserve makes the arena's buffers.
func (e *Engine) reserve(tokens int) error {
	if err := e.arena.Reserve(); err != nil {
		return usererr.New("plan memory", "", "a micro-batch of %d tokens: %w", tokens, err).Hinted("lower batch_size or max_seq_length, or set gradient_checkpointing to full")
	}
	return nil
}

// begin starts a planned program.
func (e *Engine) begin(program string) {
	e.arena.Begin(program)
	e.Model.Store().Begin(program)
}

// stateSlots are the places of paged optimizer state in the running program.
func (e *Engine) stateSlots() *optim.Pager {
	store := e.Model.Store()
	p := &optim.Pager{Feeder: store.Feeder(), Drain: store.Drain()}
	words := e.Adapter.State.SlotWords(e.plan.StatePageElements)
	for range paging.StateSlots {
		p.Slots = append(p.Slots, [2]*gpu.Tensor{
			e.arena.New("first moments", gpu.F32, 1, words), e.arena.New("second moments", gpu.F32, 1, words),
		})
	}
	return p
}

// update records the optimizer's update.
func (e *Engine) update(rec *gpu.Recorder, targets int, settings optim.Settings) {
	var pager *optim.Pager
	if e.plan.PagedState {
		e.arena.Begin(programUpdate)
		pager = e.stateSlots()
		e.arena.End()
	}
	e.Adapter.State.Update(rec, targets, settings, pager)
}
