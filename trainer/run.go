package trainer

import (
	"context"
	"fmt"
	"time"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/dataloader"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/processor"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// Inputs are the opened files of a run, and what the machine has.
type Inputs struct {
	Model        *pretrained.Model
	Data, Valid  *dataset.Source // Valid may be nil
	Samples      dataset.Store   // of those that are too many for memory; nil: memory takes them all
	ChatTemplate string          // Jinja source replacing the model's; empty: the model's
	Adapter      *lora.Files     // to continue from; nil: a fresh one
	Output       Output
	Cache        engine.Cache                    // of what was measured; nil: none
	Quantized    paging.Cache                    // of quantized models; nil: none
	HostMemory   func() (total, available int64) // of this machine in bytes, 0 where unknown; may be nil
	Room         engine.Room                     // what is known of the memory before anything is loaded
	// factor on the length of submissions to the device, for a driver that cannot bear the usual one; 0: none
	SubmitScale float64
	Prompts     Prompts
	// Watch tells the probabilities of the first micro-batch's targets, whenever the prompts are answered, or, without
	// prompts, would be, and where the run goes on. What is trained does not depend on it.
	Watch  bool
	Opened *gpu.Device // used instead of opening the configuration's device, and left open; nil: none
}

// run is a training run in progress.
type run struct {
	config   Config
	in       Inputs
	emit     func(Event)
	session  *engine.Session
	text     *processor.Processor
	loader   *dataloader.Loader
	engine   *engine.Engine
	schedule Schedule
	prompts  prompts
	watched  *dataset.Batch // whose probabilities are told; nil: none's
	log      *runLog

	state     runState
	from      *checkpoint.Checkpoint // to go on from; nil: begin anew
	saved     runState               // its state
	savedStep int                    // of the last checkpoint, read or written
	skipped   int                    // steps in a row without an update
	paged     paging.Counters        // since this start
	started   time.Time
	before    float64 // seconds trained before this start
}

// Run trains as the configuration says. When ctx is cancelled, whatever the run is doing, it finishes no more than the
// step, saves the checkpoint of the last step that is done (unless that is saved, or none is done) and returns ctx's
// error; a run of which only the result is left to be written is finished. What was cut off, an evaluation or answers,
// comes when the run goes on. Until it has begun, a run that it is to replace stays. Other errors are *usererr.Error
// for what the user can mend (settings, files, a budget that is too small, losses that are not finite), ErrEngineFault,
// which another try from the last checkpoint may survive, and the output's own where it cannot be written.
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
		if err := r.restore(ctx, r.from); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil { // before what is there is replaced
		return nil, err
	}
	if err := claimOutput(in.Output, c); err != nil {
		return nil, err
	}
	r.removeLeftovers()
	if err := r.openLog(); err != nil {
		return nil, err
	}
	defer r.log.close()
	if r.state.Step == 0 {
		for _, answer := range base {
			r.log.add(answer)
		}
	}
	if r.state.Step > 0 && !r.answersDue() { // nothing keeps what was told before the run went on
		if err := r.tellProbabilities(ctx, r.state.Step); err != nil {
			return nil, err
		}
	}
	return r.loop(ctx)
}

// Prepare does what Run does before its first step, and leaves what was compiled and measured on the way on in.Opened
// and in.Cache, so that Run soon gets to that step. No file of the output changes. Errors are Run's.
func Prepare(ctx context.Context, c Config, in Inputs, emit func(Event)) error {
	r, err := prepare(ctx, c, in, emit)
	if err == nil {
		r.release()
	}
	return err
}

// prepare loads all that a run needs, reserves its memory and compiles its kernels.
func prepare(ctx context.Context, c Config, in Inputs, emit func(Event)) (*run, error) {
	r, err := open(ctx, c, in, emit)
	if err != nil {
		return nil, err
	}
	if err = r.takeMemory(ctx); err == nil {
		err = r.compile(ctx)
	}
	if err != nil {
		r.release()
		return nil, err
	}
	return r, nil
}

// open checks the settings, opens the device and lays the steps over the data.
func open(ctx context.Context, c Config, in Inputs, emit func(Event)) (_ *run, err error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if err := checkOutput(in.Output, c); err != nil {
		return nil, err
	}
	budget, err := c.Budget.Bytes()
	if err != nil {
		return nil, err
	}
	r := &run{config: c, in: in, emit: emit}
	r.state.Date = time.Now()
	r.text, err = processor.New(in.Model, c.Model, processor.Options{
		ChatTemplate: in.ChatTemplate, TemplateArgs: c.Args(), Now: r.state.Date,
	})
	if err != nil {
		return nil, err
	}
	for _, warning := range r.text.Warnings {
		r.warn("%s", warning)
	}
	r.session, err = engine.Open(ctx, engine.Options{
		Model: c.Model, Device: c.Device, Autotune: c.Autotune, Budget: budget, Cache: in.Cache, Quantized: in.Quantized,
		HostMemory: in.HostMemory, Room: in.Room, SubmitScale: in.SubmitScale, Opened: in.Opened,
	}, in.Model, emit)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			r.release()
		}
	}()
	if r.from, err = r.findCheckpoint(); err != nil {
		return nil, err
	}
	r.text.Template = r.text.Template.At(r.state.Date)
	if r.loader, err = dataloader.New(ctx, r.config, r.text, in.Model.Spec, in.Data, in.Valid, in.Samples, emit); err != nil {
		return nil, err
	}
	r.schedule = NewSchedule(r.config, r.loader.TotalSteps)
	if r.from != nil {
		if err := r.checkLength(r.from); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// takeMemory puts model and adapter on the device and reserves all that the run needs before its first step.
func (r *run) takeMemory(ctx context.Context) (err error) {
	c, d := r.config, r.loader.Demand(r.in.Model.Spec)
	if r.in.Watch { // as large as micro-batches of training get, so that no other variants are measured
		d.EvalTokens = max(d.EvalTokens, d.Tokens)
	}
	with := engine.Trainable{Seed: c.Seed, Cuts: r.loader.Cuts(), Fill: func(a *lora.Adapter) error { return a.Init(c.Seed) }}
	if f := r.in.Adapter; f != nil {
		d.Adapter = f.Config
		with.Fill = func(a *lora.Adapter) error { return a.SetTensors(f.Tensors, f.Path) }
	}
	if r.engine, err = r.session.Prepare(ctx, d, with); err != nil {
		return err
	}
	if d.Auto { // a resumed run goes on with it
		r.config.GradientCheckpointing = engine.CheckpointingOf(r.engine.Plan().Activations)
	}
	r.emit(events.Schedule{
		Steps: r.loader.TotalSteps, GradientAccumulationSteps: c.GradientAccumulationSteps, BatchSize: c.BatchSize,
		LearningRate: c.LearningRate, LRSchedulerType: c.LRSchedulerType, WarmupSteps: r.schedule.WarmupWithin(),
		Epochs: r.loader.Epochs(),
	})
	if r.schedule.Peak() == 0 {
		r.warnOfNoRate()
	}
	if err := r.prepareAnswers(); err != nil {
		return err
	}
	if err := r.prepareWatch(); err != nil {
		return err
	}
	dev := r.session.Device
	params, moments := r.engine.Adapter.State.Bytes()
	r.emit(events.Reserved{
		Steps: r.loader.TotalSteps, Device: dev.Bytes(), Frozen: r.engine.Model.FrozenBytes(), State: params + moments,
		Activations: r.engine.ArenaBytes(), MaxTokens: d.Tokens,
	})
	return nil
}

// release frees what prepare has made.
func (r *run) release() { r.session.Release() }

func (r *run) info(format string, args ...any) {
	r.emit(events.Info{Message: fmt.Sprintf(format, args...)})
}

func (r *run) warn(format string, args ...any) {
	r.emit(events.Warning{Message: fmt.Sprintf(format, args...)})
}

// compile makes the kernels of a first step and of the prompts' answers at once, rather than one by one where each is
// first needed.
func (r *run) compile(ctx context.Context) error {
	if r.engine.Plan().Traffic > 0 {
		return nil // a recording would start to move pages
	}
	start := r.loader.Stream.Cursor()
	window, _, err := r.loader.Window()
	if err != nil {
		return err
	}
	if err := r.loader.Stream.Seek(start); err != nil {
		return err
	}
	rec := r.session.Device.DryRecord("first step")
	if targets := r.engine.Accumulate(rec, window, 0); targets > 0 {
		r.engine.Update(rec, targets, r.optimizer())
	}
	for _, prompt := range r.prompts.asked {
		r.engine.Generator().Dry(rec, prompt.IDs)
	}
	specs := rec.Kernels()
	meter := events.NewMeter(int64(len(specs)), func(p events.Part) { r.emit(events.Compiling{Part: p}) })
	if err := r.session.Device.Compile(ctx, specs, func() { meter.Add(1) }); err != nil {
		return r.engine.ReadError(ctx, err)
	}
	meter.End()
	return nil
}
