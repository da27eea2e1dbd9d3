package trainer

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// Inputs are the opened files of a run.
type Inputs struct {
	Model        *pretrained.Model
	Data, Valid  *dataset.Source // Valid may be nil
	ChatTemplate string          // Jinja source replacing the model's; empty: the model's
	Adapter      *AdapterFiles   // to continue from; nil: a fresh one
	Output       Output
	Cache        Cache
	Quantized    paging.Cache                    // of quantized models; nil: none
	HostMemory   func() (total, available int64) // of this machine in bytes, 0 where unknown; may be nil
	Room         Room                            // what is known of the memory before anything is loaded
	SubmitScale  float64                         // factor on the length of submissions to the device, for a driver that cannot bear the usual one; 0: none
	Prompts      Prompts
	Opened       *gpu.Device // used instead of opening the configuration's device, and left open; nil: none
}

// Prompts are answered by the base model before the first step, then every so many steps and after the last one, each time with the likeliest tokens.
// What is trained does not depend on them.
type Prompts struct {
	Texts     []string
	Every     int // steps; 0: after the last one only
	MaxTokens int // of an answer
}

// AdapterFiles is a PEFT adapter as read from disk.
type AdapterFiles struct {
	Config  lora.Config
	Tensors []lora.Tensor
	Path    string
}

// run is a training run in progress.
type run struct {
	config       Config
	session      *session
	template     string
	plan         *paging.Plan
	paged        paging.Counters // since this start
	data         *dataset.Source
	samples, val []dataset.Sample
	report       dataset.Report
	stream       *dataset.Stream
	maxSeqLength int
	adapter      *lora.Adapter
	engine       *Engine
	schedule     Schedule
	totalSteps   int
	out          Output
	log          checkpoint.Writer
	state        runState
	from         *checkpoint.Checkpoint // to go on from; nil: begin anew
	savedStep    int                    // of the last checkpoint, read or written
	skipped      int                    // steps in a row without an update
	prompts      Prompts
	generator    *Generator // of the prompts' answers; nil without prompts
	answered     int        // step of the last answers
	started      time.Time
	before       float64 // seconds trained before this start
}

// Run trains as the configuration says. When ctx is cancelled it finishes the step, saves a checkpoint and returns ctx's error.
func Run(ctx context.Context, c Config, in Inputs, emit func(Event)) (*Summary, error) {
	r, err := prepare(ctx, c, in, emit)
	if err != nil {
		return nil, err
	}
	defer r.release()
	base, err := r.baseAnswers(ctx)
	if err != nil {
		return nil, err
	}
	if r.from != nil {
		if err := r.restore(r.from); err != nil {
			return nil, err
		}
	}
	if err := claimOutput(in.Output, c); err != nil {
		return nil, err
	}
	if err := r.openLog(); err != nil {
		return nil, err
	}
	defer r.log.Close()
	if r.state.Step == 0 {
		for _, answer := range base {
			if err := r.logLine(answer); err != nil {
				return nil, err
			}
		}
	}
	r.answered = r.state.Step
	return r.loop(ctx)
}

// Prepare does what Run does before its first step, and leaves what was compiled and measured on the way on in.Opened and in.Cache, so that Run soon gets
// to that step. No file of the output changes.
func Prepare(ctx context.Context, c Config, in Inputs, emit func(Event)) error {
	r, err := prepare(ctx, c, in, emit)
	if err == nil {
		r.release()
	}
	return err
}

// prepare loads all that a run needs, reserves its memory and compiles its kernels.
func prepare(ctx context.Context, c Config, in Inputs, emit func(Event)) (_ *run, err error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	if err := checkOutput(in.Output, c); err != nil {
		return nil, err
	}
	r := &run{config: c, template: in.ChatTemplate, data: in.Data, out: in.Output, prompts: in.Prompts}
	defer func() {
		if err != nil {
			r.release()
		}
	}()
	if r.session, err = openSession(ctx, sessionOptions{
		Model: c.Model, Device: c.Device, Autotune: c.Autotune, ChatTemplate: in.ChatTemplate, BlockSize: c.BlockSize, Quantized: in.Quantized, SubmitScale: in.SubmitScale, Opened: in.Opened,
	}, in.Model, in.Cache, emit); err != nil {
		return nil, err
	}
	if r.from, err = r.findCheckpoint(); err != nil {
		return nil, err
	}
	if err := r.prepareData(in.Valid); err != nil {
		return nil, err
	}
	if err := r.prepareMemory(ctx, in); err != nil {
		return nil, err
	}
	if err := r.prepareAnswers(); err != nil {
		return nil, err
	}
	r.tellReserved()
	return r, r.compile()
}

// release frees what prepare has made.
func (r *run) release() {
	if r.generator != nil {
		r.generator.Release()
	}
	if r.session != nil {
		r.releaseMemory()
		r.session.release()
	}
}

// compile makes the kernels of a first step and of the prompts' answers at once, rather than one by one where each is first needed.
func (r *run) compile() error {
	if r.plan.Traffic > 0 {
		return nil // a recording would start to move pages
	}
	start := r.stream.Cursor()
	window, _ := r.window()
	if err := r.stream.Seek(start); err != nil {
		return err
	}
	rec := r.session.dev.DryRecord("first step")
	if targets := r.engine.accumulate(rec, window, 0); targets > 0 {
		r.engine.update(rec, targets, r.optimizer())
	}
	if r.generator != nil {
		for _, prompt := range r.prompts.Texts {
			ids, err := r.session.promptIDs(prompt, "", false)
			if err != nil {
				return err
			}
			r.generator.dry(rec, ids)
		}
	}
	if err := r.session.dev.Compile(rec.Kernels()); err != nil {
		return fmt.Errorf("%w: %w", ErrEngineFault, err)
	}
	return nil
}

// moments are how and where the optimizer keeps them.
func (r *run) moments() optim.Options {
	return optim.Options{EightBit: r.config.eightBit(), Paged: r.plan.PagedState}
}

func thousands(n int64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func longest(samples []dataset.Sample) (n int) {
	for _, s := range samples {
		n = max(n, len(s.IDs))
	}
	return n
}

// window is the micro-batches of one optimizer step; it does not reach into the next epoch.
func (r *run) window() (window []model.Input, tokens int) {
	for len(window) < r.config.GradientAccumulationSteps {
		b := r.stream.Next()
		window = append(window, batchInput(b))
		tokens += len(b.IDs)
		if r.stream.Cursor().Batch == 0 || r.stream.Cursor().Batch == r.stream.BatchesPerEpoch() {
			break
		}
	}
	return window, tokens
}

// loop runs what is left of the run. What is due after a step (an evaluation, a checkpoint) follows from the state alone, so a run that was
// killed or cancelled in between does it after going on.
func (r *run) loop(ctx context.Context) (*Summary, error) {
	r.started = time.Now()
	finish := context.WithoutCancel(ctx)
	for {
		if r.evaluationDue() {
			if err := r.evaluate(ctx); err != nil && ctx.Err() == nil {
				return nil, err
			}
		}
		if r.answersDue() && ctx.Err() == nil {
			if err := r.answer(ctx); err != nil && ctx.Err() == nil {
				return nil, err
			}
		}
		done := r.state.Step >= r.totalSteps && !r.evaluationDue()
		if ctx.Err() != nil && !done {
			return nil, r.interrupted(ctx)
		}
		if n := r.config.SaveSteps; n > 0 && (r.state.Step%n == 0 || done) {
			var err error
			switch {
			case r.state.Step != r.savedStep:
				err = r.saveCheckpoint(finish)
			case done: // saved by a process that may have been killed before it removed old ones
				err = r.removeOldCheckpoints()
			}
			if err != nil {
				return nil, err
			}
		}
		if done {
			break
		}
		if err := r.step(ctx); err != nil {
			return nil, err
		}
	}
	if err := r.saveAdapter(finish); err != nil {
		return nil, err
	}
	if err := r.log.Sync(); err != nil {
		return nil, fmt.Errorf("write %s: %w", logFile, err)
	}
	summary := &Summary{Steps: r.state.Step, Loss: r.state.Loss, Eval: r.state.Eval, AdapterDir: r.config.OutputDir, Seconds: r.state.Seconds}
	r.session.emit(events.Done{
		Steps: summary.Steps, Skipped: r.state.Skipped, Seconds: summary.Seconds, PeakDeviceBytes: r.session.dev.PeakBytes(),
		PageIns: r.paged.PageIns, PageOuts: r.paged.PageOuts, StallSeconds: r.paged.Stall.Seconds(),
	})
	return summary, nil
}

// evaluationDue tells whether the state wants an evaluation that it has not had.
func (r *run) evaluationDue() bool {
	step, n := r.state.Step, r.config.EvalSteps
	at := step >= r.totalSteps || n > 0 && step > 0 && step%n == 0
	return at && len(r.val) > 0 && (r.state.Eval == nil || r.state.Eval.Step != step)
}

// interrupted saves what is there.
func (r *run) interrupted(ctx context.Context) error {
	if r.state.Step != r.savedStep {
		if err := r.saveCheckpoint(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
	if r.state.Step > 0 {
		r.session.info("Interrupted. Go on with --resume.")
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
	window, tokens := r.window()
	rate := r.schedule.LearningRate(r.state.Step)
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
		Step: r.state.Step, MaxSteps: r.totalSteps, Epoch: r.stream.Epoch(), Loss: result.Loss(), GradNorm: result.GradNorm, LearningRate: rate,
		NumTokens: r.state.Tokens, TargetTokens: int64(result.Targets), MeanTokenAccuracy: result.Hits / float64(result.Targets),
		TokensPerSecond: float64(tokens) / took, DeviceBytes: r.session.dev.Bytes(), PeakDeviceBytes: r.session.dev.PeakBytes(),
		PageIns: result.Paging.PageIns, PageOuts: result.Paging.PageOuts, StallMS: float64(result.Paging.Stall.Microseconds()) / 1e3, Skipped: result.Skipped, BadTensor: result.BadTensor, Seconds: took,
	}
	if err := r.logLine(stats); err != nil {
		return err
	}
	r.session.emit(stats)
	if result.Skipped {
		return r.skip(stats)
	}
	return nil
}

// maxSkipped is how many steps in a row may make no update. The parameters stay as they are meanwhile, so it is unlikely to end by itself.
const maxSkipped = 10

func (r *run) skip(stats StepStats) error {
	r.state.Skipped++
	r.skipped++
	where := ""
	if stats.BadTensor != "" {
		where = " (first in " + strings.TrimPrefix(stats.BadTensor, "base_model.model.") + ")"
	}
	r.session.emit(events.Warning{Message: fmt.Sprintf("Step %d: the loss or a gradient is not finite%s; the update was skipped.", stats.Step, where)})
	if r.skipped < maxSkipped {
		return nil
	}
	return usererr.New("train", "", "the loss or a gradient was not finite in %d steps in a row, the last is step %d%s", maxSkipped, stats.Step, where).
		Hinted("lower learning_rate; `qlora-wgpu check` tests the device")
}

func (r *run) evaluate(ctx context.Context) error {
	stats, err := r.engine.evaluateSamples(ctx, r.val)
	if err != nil {
		return err
	}
	stats.Step = r.state.Step
	r.state.Eval = stats
	if !events.IsFinite(stats.Loss) {
		r.session.emit(events.Warning{Message: fmt.Sprintf("Step %d: the evaluation loss is not finite.", stats.Step)})
	}
	if err := r.logLine(stats); err != nil {
		return err
	}
	r.session.emit(*stats)
	return nil
}

// evaluateSamples is the mean loss over the samples' target tokens, one sequence at a time.
func (e *Engine) evaluateSamples(ctx context.Context, samples []dataset.Sample) (*EvalStats, error) {
	start := time.Now()
	stream := dataset.NewStream(samples, dataset.StreamOptions{BatchSize: 1, MaxSeqLength: longest(samples)})
	sum, _, targets, err := e.EvaluateBatches(ctx, func(yield func(model.Input) bool) {
		for range stream.BatchesPerEpoch() {
			if !yield(batchInput(stream.Next())) {
				return
			}
		}
	})
	if err != nil {
		return nil, err
	}
	mean := sum / float64(targets)
	return &EvalStats{Loss: mean, Perplexity: math.Exp(mean), TargetTokens: int64(targets), Rows: len(samples), Seconds: time.Since(start).Seconds()}, nil
}

func sortData(data []safetensors.Data) {
	slices.SortFunc(data, func(a, b safetensors.Data) int { return strings.Compare(a.Name, b.Name) })
}
