package trainer

import (
	"context"
	"slices"
	"strings"
	"time"

	"qlora-wgpu/internal/dataloader"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/usererr"
)

// loop runs what is left of the run. What is due after a step (an evaluation, answers, a checkpoint) follows from the
// state and the log, so a run that was killed or cancelled in between does it after going on.
func (r *run) loop(ctx context.Context) (*Summary, error) {
	r.started = time.Now()
	finish := context.WithoutCancel(ctx)
	for {
		if err := r.afterStep(ctx); err != nil && ctx.Err() == nil {
			return nil, err
		}
		done := r.state.Step >= r.loader.TotalSteps && !r.evaluationDue() && !r.answersDue()
		if ctx.Err() != nil && !done {
			return nil, r.interrupted(ctx)
		}
		if done {
			break
		}
		if n := r.config.SaveSteps; n > 0 && r.state.Step%n == 0 && r.state.Step != r.savedStep {
			if err := r.saveNow(finish); err != nil {
				return nil, err
			}
			continue // ctx may have been cancelled meanwhile
		}
		if err := r.step(ctx); err != nil {
			return nil, err
		}
	}
	if err := r.saveResult(finish); err != nil {
		return nil, err
	}
	if said := r.classes("%s"); said != "" {
		r.info("%s", said)
	}
	r.log.sync()
	summary := &Summary{Steps: r.state.Step, Loss: r.state.Loss, Eval: r.state.Eval, AdapterDir: r.config.OutputDir, Seconds: r.state.Seconds}
	r.emit(events.Done{
		Steps: summary.Steps, Skipped: r.state.Skipped, Seconds: summary.Seconds, PeakDeviceBytes: r.session.Device.PeakBytes(),
		PageIns: r.paged.PageIns, PageOuts: r.paged.PageOuts, StallSeconds: r.paged.Stall.Seconds(),
	})
	return summary, nil
}

// afterStep evaluates and answers where that is due.
func (r *run) afterStep(ctx context.Context) error {
	if r.evaluationDue() {
		if err := r.evaluate(ctx); err != nil {
			return err
		}
	}
	if r.answersDue() {
		return r.answer(ctx)
	}
	return nil
}

// evaluationDue tells whether the state wants an evaluation that it has not had.
func (r *run) evaluationDue() bool {
	step, n := r.state.Step, r.config.EvalSteps
	at := step >= r.loader.TotalSteps || n > 0 && step > 0 && step%n == 0
	return at && r.loader.Validation.Len() > 0 && (r.state.Eval == nil || r.state.Eval.Step != step)
}

// interrupted saves what is there.
func (r *run) interrupted(ctx context.Context) error {
	if r.state.Step != r.savedStep {
		if err := r.saveNow(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
	if r.state.Step > 0 {
		r.info("Interrupted. Go on with --resume.")
	}
	return ctx.Err()
}

// optimizer is the settings of the next update.
func (r *run) optimizer() optim.Settings {
	c := r.config
	return optim.Settings{
		AdamW: kernels.AdamW{
			LearningRate: r.schedule.LearningRate(r.state.Step), Beta1: c.AdamBeta1, Beta2: c.AdamBeta2, Epsilon: c.AdamEpsilon,
			WeightDecay: c.WeightDecay, Step: r.state.Step + 1,
		},
		MaxGradNorm: c.MaxGradNorm,
	}
}

// step runs one optimizer step to its end, also when ctx is cancelled meanwhile: a step is finished or did not happen.
func (r *run) step(ctx context.Context) error {
	start := time.Now()
	window, tokens, err := r.loader.Window()
	if err != nil {
		return err
	}
	rate, step := r.schedule.LearningRate(r.state.Step), r.state.Step+1
	r.engine.Stepping = func(p events.Part) { r.emit(events.Stepping{Part: p, Step: step}) }
	result, err := r.engine.Step(context.WithoutCancel(ctx), window, r.state.MicroBatches, r.optimizer())
	if err != nil {
		return err
	}
	r.paged.Add(result.Paging)
	r.state.Step++
	r.state.MicroBatches += uint64(len(window))
	r.state.Tokens += int64(tokens)
	if !result.Skipped {
		r.state.Loss, r.skipped = result.Loss(), 0
	}
	r.state.Seconds = r.before + time.Since(r.started).Seconds()
	took := time.Since(start).Seconds()
	stats := StepStats{
		Step: r.state.Step, MaxSteps: r.loader.TotalSteps,
		Epoch: r.loader.Stream.Epoch(), Loss: result.Loss(), GradNorm: result.GradNorm, LearningRate: rate,
		NumTokens: r.state.Tokens, TargetTokens: int64(result.Targets), MeanTokenAccuracy: result.Hits / float64(result.Targets),
		TokensPerSecond: events.PerSecond(int64(tokens), took),
		DeviceBytes:     r.session.Device.Bytes(), PeakDeviceBytes: r.session.Device.PeakBytes(),
		PageIns: result.Paging.PageIns, PageOuts: result.Paging.PageOuts,
		StallMS: float64(result.Paging.Stall.Microseconds()) / 1e3, Skipped: result.Skipped, BadTensor: result.BadTensor, Seconds: took,
	}
	r.log.add(stats)
	r.emit(stats)
	if result.Skipped {
		return r.skip(stats)
	}
	return nil
}

// maxSkipped is how many steps in a row may make no update. The parameters stay as they are meanwhile, so it is
// unlikely to end by itself.
const maxSkipped = 10

func (r *run) skip(stats StepStats) error {
	r.state.Skipped++
	r.skipped++
	where := ""
	if stats.BadTensor != "" {
		where = " (first in " + strings.TrimPrefix(stats.BadTensor, "base_model.model.") + ")"
	}
	r.warn("Step %d: the loss or a gradient is not finite%s; the update was skipped.", stats.Step, where)
	if r.skipped < maxSkipped {
		return nil
	}
	return usererr.New("train", "", "the loss or a gradient was not finite in %d steps in a row, the last is step %d%s",
		maxSkipped, stats.Step, where).
		Hinted("lower learning_rate; `qlora-wgpu check` tests the device")
}

func (r *run) evaluate(ctx context.Context) error {
	stats, err := dataloader.Evaluate(ctx, r.engine, r.loader.Validation, r.emit)
	if err != nil {
		return err
	}
	stats.Step = r.state.Step
	r.state.Eval = &stats
	if !events.IsFinite(stats.Loss) {
		r.warn("Step %d: the evaluation loss is not finite.", stats.Step)
	}
	r.log.add(stats)
	r.emit(stats)
	return nil
}

func sortData(data []safetensors.Data) {
	slices.SortFunc(data, func(a, b safetensors.Data) int { return strings.Compare(a.Name, b.Name) })
}
