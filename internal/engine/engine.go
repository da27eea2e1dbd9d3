// Package engine is a model loaded on a device: what it demands of memory, how all gets ready before a first step or
// answer, and the programs that then run: optimizer steps, evaluations, passes with a cache of keys and values.
package engine

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"time"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// ErrFault marks an error of the device or its driver: not the user's mistake, and worth another try from the last
// checkpoint.
var ErrFault = errors.New("engine fault")

// Engine runs a loaded model on a device: optimizer steps, evaluation, generation. All memory of a step is reserved by
// its Reserve functions.
type Engine struct {
	Device  *gpu.Device
	Model   *model.Model
	Adapter *lora.Adapter // nil: the base model alone

	plan      *paging.Plan
	arena     *gpu.Arena
	mapped    *optim.Pager // nil unless the plan has slots of optimizer state that the host maps
	stats     *gpu.Tensor  // of evaluation, and of training without an adapter's own
	seed      uint64
	generator *Generator            // of answers, where they are reserved for; else nil
	base      *Generator            // of answers without the adapter, where they are reserved for; else nil
	bare      bool                  // evaluations leave the adapter out
	sizes     map[string]model.Size // that programs were planned for
	named     []gpu.KernelSpec      // that the planned programs dispatch
	planned   int64                 // FLOPs of the largest micro-batch, as planned
	off       float64               // the FLOPs of the last step were so many times what the plan says; 0: there was none
	// ChunkTokens cuts micro-batches into chunks of tokens; set before anything is reserved, the model's otherwise.
	ChunkTokens int
	// Stepping is told how far the device is with a step, in FLOPs; nil: nobody wants to know.
	Stepping func(events.Part)
}

// New wraps a loaded model. adapter may be nil for evaluation and generation. plan says what happens to activations and
// optimizer state; without one, layers are computed again in their backward and all else is on the device. seed selects
// the dropout masks.
func New(dev *gpu.Device, m *model.Model, adapter *lora.Adapter, plan *paging.Plan, seed uint64) (*Engine, error) {
	if plan == nil {
		plan = &paging.Plan{}
	}
	stats, err := dev.NewTensor("evaluation statistics", gpu.F32, 1, kernels.StatCount)
	if err != nil {
		return nil, err
	}
	return &Engine{
		Device: dev, Model: m, Adapter: adapter, plan: plan, arena: dev.NewArena(), stats: stats, seed: seed, sizes: map[string]model.Size{},
		ChunkTokens: m.ChunkTokens(),
	}, nil
}

// Plan says where everything lies.
func (e *Engine) Plan() *paging.Plan { return e.plan }

// Generator continues token lists, where answers were reserved for; else nil.
func (e *Engine) Generator() *Generator { return e.generator }

// Base is the same engine for the base model alone: what it evaluates and answers leaves the adapter out. All memory is
// e's, by which it is reserved and released.
func (e *Engine) Base() *Engine {
	if e.Adapter == nil {
		return e
	}
	base := *e
	base.generator, base.bare = e.base, true
	return &base
}

// ArenaBytes is what activations and scratch of the programs take.
func (e *Engine) ArenaBytes() int64 { return e.arena.Bytes() }

// Release frees the engine's own memory; model, adapter and device are the caller's.
func (e *Engine) Release() {
	e.releaseGenerators()
	e.arena.Release()
	if e.mapped != nil {
		for _, slot := range e.mapped.Slots {
			slot[0].Release()
			slot[1].Release()
		}
	}
	e.stats.Release()
}

func asTooLarge(r any, large **gpu.TooLarge) bool {
	err, ok := r.(error)
	return ok && errors.As(err, large)
}

// Worst is the micro-batch that needs most: one sequence, every token a target.
func Worst(tokens int) model.Input {
	in := model.Input{
		IDs: make([]uint32, tokens), Positions: make([]uint32, tokens), FirstKey: make([]uint32, tokens), Targets: make([]int32, tokens),
	}
	for i := range in.Positions {
		in.Positions[i] = uint32(i)
	}
	return in
}

// trainPass records one micro-batch within a running program. key numbers it over the whole run.
func (e *Engine) trainPass(rec *gpu.Recorder, in model.Input, key uint64) {
	base := lora.Pass{Rec: rec, Arena: e.arena, Dropout: float32(e.Adapter.Config.Dropout)}
	base.Key.K0 = uint32(e.seed) ^ uint32(key)
	base.Key.K1 = uint32(e.seed>>32) ^ uint32(key>>32)<<16
	pass := model.NewPass(base, in, e.sizes[programTrain])
	pass.Stats = e.Adapter.State.Stats
	pass.Kept = e.plan.Kept
	e.Model.Train(pass, e.plan.Activations)
}

func (e *Engine) evaluatePass(rec *gpu.Recorder, in model.Input, loss model.Loss) {
	pass := model.NewPass(lora.Pass{Rec: rec, Arena: e.arena, Bare: e.bare}, in, e.sizes[programEvaluate])
	pass.Stats, pass.Loss = e.stats, loss
	e.Model.Evaluate(pass)
}

// StepResult is what one optimizer step read back.
type StepResult struct {
	LossSum, Hits float64 // over the window's target tokens
	Targets       int
	GradNorm      float64 // before clipping, of the gradient divided by Targets
	Skipped       bool    // the update was left out for a non-finite loss or gradient
	BadTensor     string  // the first gradient that was not finite, if one was
	Paging        paging.Counters
}

// Loss is the mean over the window's target tokens.
func (r StepResult) Loss() float64 { return r.LossSum / float64(r.Targets) }

// Accumulate records forward and backward of a window's micro-batches into the gradients. first numbers the window's
// first micro-batch over the run.
func (e *Engine) Accumulate(rec *gpu.Recorder, window []model.Input, first uint64) (targets int) {
	rec.Upload(e.Adapter.State.Stats.Single(), make([]byte, 4*kernels.StatCount))
	for i, in := range window {
		rows, _ := in.Supervised()
		if len(rows) == 0 {
			continue
		}
		targets += len(rows)
		e.begin(programTrain)
		e.trainPass(rec, in, first+uint64(i))
		e.arena.End()
	}
	return targets
}

// Step runs one optimizer step over a window of micro-batches: the loss is divided by the window's target tokens.
// settings.Step counts from 1.
func (e *Engine) Step(ctx context.Context, window []model.Input, first uint64, settings optim.Settings) (StepResult, error) {
	start := time.Now()
	end, stop := e.follow(window)
	defer stop()
	rec := e.Device.Record(fmt.Sprintf("step %d", settings.Step))
	r := StepResult{Targets: e.Accumulate(rec, window, first)}
	if r.Targets == 0 {
		return r, usererr.New("train", "", "step %d has no target token", settings.Step)
	}
	e.Update(rec, r.Targets, settings)
	if err := rec.Submit(); err != nil {
		return r, fmt.Errorf("%w: %w", ErrFault, err)
	}
	data, err := e.Device.Read(ctx, e.Adapter.State.Stats.Single())
	if err != nil {
		return r, e.ReadError(ctx, err)
	}
	if err := e.Model.Store().Finish(); err != nil {
		return r, e.ReadError(ctx, err)
	}
	end(rec.Cost)
	r.Paging = e.Model.Store().TakeCounters()
	// Stalls count as work: while the host waits for a slot, the device computes.
	e.Device.Calibrate(rec.Cost, time.Since(start))
	stat := statistics(data)
	r.LossSum, r.Hits, r.GradNorm = stat(kernels.StatLoss), stat(kernels.StatHits), stat(kernels.StatGradNorm)
	r.Skipped = stat(kernels.StatSkip) != 0
	if bad := stat(kernels.StatBad); r.Skipped && bad >= 0 {
		r.BadTensor = e.Adapter.State.BadTensor(int(bad))
	}
	return r, nil
}

// ReadError is the context's error where that was the cause, else an engine fault.
func (e *Engine) ReadError(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("%w: %w", ErrFault, err)
}

func statistics(data []byte) func(i int) float64 {
	return func(i int) float64 { return float64(math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))) }
}

// Gradients runs forward and backward of a window and returns the adapter's gradients divided by the window's target
// tokens; nothing is updated.
func (e *Engine) Gradients(ctx context.Context, window []model.Input) ([]lora.Tensor, error) {
	rec := e.Device.Record("gradients")
	targets := e.Accumulate(rec, window, 0)
	if err := rec.Submit(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFault, err)
	}
	tensors, err := e.Adapter.Tensors(ctx, e.Adapter.State.Grad)
	if err != nil {
		return nil, e.ReadError(ctx, err)
	}
	for _, t := range tensors {
		for i := range t.Values {
			t.Values[i] /= float32(targets)
		}
	}
	clear := e.Device.Record("clear gradients")
	for _, g := range e.Adapter.State.Grad {
		kernels.Fill(clear, g, 0)
	}
	return tensors, clear.Submit()
}

// EvaluateBatches sums the loss over batches; it waits after each, so that a cancelled context ends it soon.
func (e *Engine) EvaluateBatches(
	ctx context.Context, batches func(yield func(model.Input) bool),
) (lossSum, hits float64, targets int, err error) {
	batches(func(in model.Input) bool {
		if err = ctx.Err(); err != nil {
			return false
		}
		rows, _ := in.Supervised()
		if len(rows) == 0 {
			return true
		}
		if err = e.evaluate(in, model.CrossEntropy{}); err != nil {
			return false
		}
		var data []byte
		if data, err = e.Device.Read(ctx, e.stats.Single()); err != nil {
			err = e.ReadError(ctx, err)
			return false
		}
		stat := statistics(data)
		lossSum, hits, targets = lossSum+stat(kernels.StatLoss), hits+stat(kernels.StatHits), targets+len(rows)
		return true
	})
	return lossSum, hits, targets, err
}
