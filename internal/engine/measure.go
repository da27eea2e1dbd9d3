package engine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/paging"
)

// Work is what Measure takes the time of.
type Work struct {
	MicroBatch model.Input
	Row        model.Input // to evaluate; without tokens: none
	Prompt     []uint32    // to answer, where answers are reserved for; nil: none
	Optimizer  optim.Settings
}

// Times are the seconds that parts of a run take.
type Times struct {
	MicroBatch float64 // forward and backward
	Update     float64
	Row        float64 // evaluated
	Prompt     float64 // an answer's first token
	Token      float64 // each of the others
}

// over adds what the layers take that the measured engine lacks: short is the time of its first layer alone.
func (t Times) over(short Times, layers, all int) Times {
	grown := func(whole, first float64) float64 {
		return whole + max(0, whole-first)/float64(layers-1)*float64(all-layers)
	}
	return Times{
		MicroBatch: grown(t.MicroBatch, short.MicroBatch), Update: t.Update * float64(all) / float64(layers),
		Row: grown(t.Row, short.Row), Prompt: grown(t.Prompt, short.Prompt), Token: grown(t.Token, short.Token),
	}
}

// Measure takes the times of work as a model of so many layers would need them. The engine's own has as many, or its
// first layers, of which one is measured alone too: they are alike. The engine's gradients, adapter and moments are
// changed by it. told is called after each part of the measuring. Errors are ErrFault and ctx's.
func (e *Engine) Measure(ctx context.Context, w Work, layers int, told func(done, total int)) (t Times, err error) {
	mine, parts := e.Model.Shape().Layers, 0
	measure := func(e *Engine, seconds float64) (t Times) {
		if err == nil {
			t, err = e.measure(ctx, w, seconds)
		}
		if parts++; err == nil {
			told(parts, 3)
		}
		return t
	}
	warm := e
	if mine < layers {
		if warm, err = e.firstLayer(w); err != nil {
			return t, err
		}
		defer warm.Release()
	}
	measure(warm, 0) // some drivers compile at the first use
	short := measure(warm, enoughSeconds)
	t = measure(e, enoughSeconds)
	if err == nil {
		t.Update, err = e.measureUpdate(ctx, w)
	}
	if mine < layers {
		t = t.over(short, mine, layers)
	}
	return t, err
}

// enoughSeconds of something short are measured, and something long once.
const enoughSeconds = 0.3

// moreSeconds is how many times as long as that micro-batches are measured, which most of a run are.
const moreSeconds = 4

// firstLayer is an engine over the model's first layer, ready for the work.
func (e *Engine) firstLayer(w Work) (*Engine, error) {
	first, err := New(e.Device, e.Model.First(1), e.Adapter, &paging.Plan{
		Decisions: paging.Decisions{Activations: e.plan.Activations, Kept: e.plan.Kept},
	}, e.seed)
	if err != nil {
		return nil, err
	}
	first.ChunkTokens = e.ChunkTokens
	ready := func() error {
		if err := first.ReserveTraining(e.sizes[programTrain].Tokens); err != nil {
			return err
		}
		if len(w.Row.IDs) > 0 {
			if err := first.ReserveEvaluation(e.sizes[programEvaluate].Tokens); err != nil {
				return err
			}
		}
		if w.Prompt != nil {
			return first.ReserveAnswers(e.generator.Room())
		}
		return nil
	}
	if err := ready(); err != nil {
		first.Release()
		return nil, err
	}
	return first, nil
}

// mean is that of the seconds that work takes, as often as fills so many seconds, and at least once. Where others use
// the device too, a run meets them as well: no time is too long to count.
func mean(ctx context.Context, seconds float64, work func() error) (float64, error) {
	const most = 20
	start, times := time.Now(), 0
	for ; times == 0 || times < most && time.Since(start).Seconds() < seconds; times++ {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		if err := work(); err != nil {
			return 0, err
		}
	}
	return time.Since(start).Seconds() / float64(times), nil
}

// measure takes the times of what the engine holds, but the update's.
func (e *Engine) measure(ctx context.Context, w Work, seconds float64) (t Times, err error) {
	take := func(to *float64, seconds float64, work func() error) {
		if err == nil {
			*to, err = mean(ctx, seconds, work)
		}
	}
	take(&t.MicroBatch, moreSeconds*seconds, func() error {
		return e.timed(ctx, func(rec *gpu.Recorder) { e.Accumulate(rec, []model.Input{w.MicroBatch}, 0) })
	})
	if len(w.Row.IDs) > 0 {
		take(&t.Row, seconds, func() error {
			_, _, _, err := e.EvaluateBatches(ctx, func(yield func(model.Input) bool) { yield(w.Row) })
			return err
		})
	}
	if w.Prompt != nil {
		take(&t.Prompt, seconds, func() error {
			e.generator.Forget()
			_, err := e.generator.Logits(ctx, w.Prompt)
			return err
		})
		longer := append(slices.Clone(w.Prompt), w.Prompt[0])
		take(&t.Token, seconds, func() error { // the last is computed again each time
			_, err := e.generator.Logits(ctx, longer)
			return err
		})
		e.generator.Forget()
	}
	return t, err
}

// measureUpdate takes the time of the optimizer's update, and of waiting for it.
func (e *Engine) measureUpdate(ctx context.Context, w Work) (float64, error) {
	rows, _ := w.MicroBatch.Supervised()
	update := func() error {
		return e.timed(ctx, func(rec *gpu.Recorder) { e.Update(rec, len(rows), w.Optimizer) })
	}
	if _, err := mean(ctx, 0, update); err != nil { // some drivers compile at the first use
		return 0, err
	}
	return mean(ctx, enoughSeconds, update)
}

// timed submits a recording and waits for what it does.
func (e *Engine) timed(ctx context.Context, record func(rec *gpu.Recorder)) error {
	rec := e.Device.Record("measure")
	record(rec)
	if err := rec.Submit(); err != nil {
		return fmt.Errorf("%w: %w", ErrFault, err)
	}
	if _, err := e.Device.Read(ctx, e.Adapter.State.Stats.Single()); err != nil {
		return e.ReadError(ctx, err)
	}
	return e.Model.Store().Finish()
}
