package trainer

import (
	"context"
	"errors"
	"io"
	"time"

	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// Times are what a run will take, in seconds.
type Times struct {
	Steps      int     `json:"steps"` // that are left
	Step       float64 `json:"step"`  // one of them
	Loading    float64 `json:"loading"`
	Training   float64 `json:"training"` // all steps
	Evaluation float64 `json:"evaluation"`
	Answers    float64 `json:"answers"`
	Saving     float64 `json:"saving"`
	Seconds    float64 `json:"seconds"` // all of these
}

// measuredLayers are enough to tell what the others take.
const measuredLayers = 3

// Estimate tells how long Run will take on a device that is open by then, with the kernels compiled that it uses. It
// reads the data, loads the first layers of the model with what surrounds them, and tries on them a micro-batch of
// average size, an update, a row and an answer; layers are alike. An answer is taken to be as long as the data's. What
// the estimate leaves out is what neither can show: pages of weights that have to come from the host in each step, a
// cache of quantized models, the disk.
//
// Nothing of the output changes, nor what Run computes: what is compiled and measured on the way stays on in.Opened and
// in.Cache. emit is told of progress alone. Errors are Run's.
func Estimate(ctx context.Context, c Config, in Inputs, emit func(Event)) (*Times, error) {
	in.Quantized = nil // it would keep the first layers alone
	var loads loads
	began := time.Now()
	r, err := open(ctx, c, in, func(e Event) {
		loads.event(e)
		switch e.(type) {
		case events.Progress, events.Preparing:
			emit(e)
		}
	})
	if err != nil {
		return nil, err
	}
	defer r.release()
	opened := time.Since(began)
	began = time.Now()
	plan, err := r.session.Plan(r.loader.Demand(in.Model.Spec))
	if err != nil {
		return nil, err
	}
	const recordings = 3 // as many as Prepare makes: of a typical step, of the largest, and the plan's
	getReady := opened + recordings*time.Since(began)
	all := len(in.Model.Spec.Layers)
	layers := all
	if all > 2*measuredLayers {
		layers = measuredLayers
	}
	err = r.takeLayers(ctx, layers, plan)
	if mistake := (*usererr.Error)(nil); errors.As(err, &mistake) && layers < all { // what is adapted is in other layers
		layers = all
		err = r.takeLayers(ctx, layers, plan)
	}
	if err == nil {
		err = r.compile(ctx)
	}
	if err != nil {
		return nil, err
	}
	t := &Times{Loading: getReady.Seconds() + loads.seconds(layers, all)}
	return t, r.estimate(ctx, t, float64(all)/float64(layers))
}

// takeLayers puts the first layers of the model on the device, to be treated as those of the plan.
func (r *run) takeLayers(ctx context.Context, layers int, plan *paging.Plan) error {
	short := r.in.Model.WithLayers(layers)
	r.session.Source = short
	d := r.loader.Demand(short.Spec)
	d.Auto = false
	d.Start.Activations, d.Start.Kept, d.Start.PagedState = plan.Activations, plan.Kept, plan.PagedState
	if f := r.in.Adapter; f != nil { // what it adapts is named for all layers
		d.Adapter = lora.Config{Rank: f.Config.Rank, Alpha: f.Config.Alpha, Dropout: f.Config.Dropout, Targets: []string{"all-linear"}}
	}
	var err error
	r.engine, err = r.session.Prepare(ctx, d, engine.Trainable{
		Seed: r.config.Seed, Fill: func(a *lora.Adapter) error { return a.Init(r.config.Seed) },
	})
	if err != nil {
		return err
	}
	return r.prepareAnswers()
}

// estimate measures on the layers that are there, of which the whole model has so many times as many.
func (r *run) estimate(ctx context.Context, t *Times, times float64) error {
	layers := int(times*float64(r.engine.Model.Shape().Layers) + 0.5)
	work := engine.Work{Optimizer: r.optimizer()}
	var err error
	if work.Row, err = r.loader.TypicalRow(); err != nil {
		return err
	}
	if work.MicroBatch, err = r.loader.Typical(); err != nil {
		return err
	}
	prompts, longest := 0, 0
	for _, p := range r.prompts.asked {
		if prompts += len(p.IDs); len(p.IDs) > longest {
			longest, work.Prompt = len(p.IDs), p.IDs
		}
	}
	parts, err := r.engine.Measure(ctx, work, layers, func(done, total int) {
		r.emit(events.Estimating{Part: events.Part{Done: int64(done), Total: int64(total)}})
	})
	if err != nil {
		return err
	}
	due := r.left()
	t.Steps = due.steps
	t.Step = parts.MicroBatch*r.loader.MicroBatchesPerStep() + parts.Update
	t.Training = t.Step * float64(due.steps)
	t.Evaluation = parts.Row * float64(r.loader.Validation.Len()*due.evaluations)
	if longest > 0 {
		tokens := min(r.in.Prompts.MaxTokens, r.loader.TypicalAnswer()) - 1 // the first comes of the prompt
		each := parts.Prompt*float64(prompts)/float64(longest) + parts.Token*float64(max(tokens, 0)*len(r.prompts.asked))
		t.Answers = each * float64(due.answers)
	}
	adapter, moments, err := r.estimateSaving(ctx)
	if err != nil {
		return err
	}
	t.Saving = times * (adapter + (adapter+moments)*float64(due.checkpoints))
	t.Seconds = t.Loading + t.Training + t.Evaluation + t.Answers + t.Saving
	return nil
}

// estimateSaving takes the time in which the adapter and its moments are read from the device and brought into the form
// of their files.
func (r *run) estimateSaving(ctx context.Context) (adapter, moments float64, err error) {
	r.emit = func(Event) {} // nothing is saved
	began := time.Now()
	s, err := r.snapshot(ctx, 1, false)
	if err == nil {
		err = r.engine.Adapter.Config.WriteWeights(io.Discard, s.adapter)
	}
	adapter = time.Since(began).Seconds()
	began = time.Now()
	if err == nil {
		s, err = r.snapshot(ctx, 1, true)
	}
	if err == nil {
		err = safetensors.Write(io.Discard, nil, s.moments)
	}
	return adapter, max(0, time.Since(began).Seconds()-adapter), err
}

// left is how often a run still does what takes its time.
type left struct{ steps, evaluations, answers, checkpoints int }

func (r *run) left() (l left) {
	done, total := r.saved.Step, r.loader.TotalSteps
	l.steps = total - done
	// due counts the steps ahead after which comes what follows every n-th and the last one
	due := func(n int) int {
		switch {
		case l.steps == 0:
			return 0
		case n == 0:
			return 1
		case total%n == 0:
			return total/n - done/n
		}
		return total/n - done/n + 1
	}
	if r.loader.Validation.Len() > 0 {
		l.evaluations = due(r.config.EvalSteps)
	}
	if len(r.prompts.asked) > 0 {
		l.answers = 1 + due(r.in.Prompts.Every) // the base model's come first
	}
	if r.config.SaveSteps > 0 {
		l.checkpoints = due(r.config.SaveSteps)
	}
	return l
}

// loads are the moments at which sections of a model were in their places.
type loads struct {
	began time.Time
	at    []time.Duration // by sections, the first where none is
}

func (l *loads) event(e Event) {
	load, is := e.(events.Load)
	switch {
	case !is:
	case load.Total == 0:
		l.began, l.at = time.Now(), []time.Duration{0}
	case int(load.Done) == len(l.at):
		l.at = append(l.at, time.Since(l.began))
	}
}

// seconds is what all layers take, where so many were loaded: they come first.
func (l *loads) seconds(layers, all int) float64 {
	each := l.at[layers].Seconds() / float64(layers)
	return l.at[len(l.at)-1].Seconds() + each*float64(all-layers)
}
