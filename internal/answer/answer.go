// Package answer is a loaded model, with an adapter or without, that answers prompts and measures losses.
package answer

import (
	"context"
	"errors"
	"time"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/dataloader"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/frozen"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/processor"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// Inputs are the opened files, and what the machine has.
type Inputs struct {
	Model        *pretrained.Model
	ChatTemplate string      // Jinja source replacing the model's; empty: the model's
	Adapter      *lora.Files // nil: the base model
	Cache        engine.Cache
	Quantized    paging.Cache                    // of quantized models; nil: none
	HostMemory   func() (total, available int64) // may be nil
	Opened       *gpu.Device                     // used instead of opening the settings' device, and left open; nil: none
}

// Answerer answers prompts and measures losses with one model. The first question loads it.
type Answerer struct {
	*loaded
	bare bool // the adapter is left out
}

// loaded is what an Answerer and the one without its adapter share.
type loaded struct {
	session   *engine.Session
	processor *processor.Processor
	adapter   *lora.Files
	sampling  settings.Sampling
	format    frozen.Formats
	budget    int64          // 0: none
	engine    *engine.Engine // nil until something is asked
	demand    engine.Demand  // that the engine is ready for
	samples   dataset.Store  // of data sets to evaluate that are too large for memory; nil: memory takes them
	emit      func(events.Event)
	owned     []func() // close the model's files and the cache, where nobody else does
}

// New opens the device. Of the settings, the paths are not used; Model names the model in messages. Errors are
// *usererr.Error, or the device's.
func New(ctx context.Context, c settings.Inference, sampling settings.Sampling, in Inputs, emit func(events.Event)) (*Answerer, error) {
	if err := sampling.Check(); err != nil {
		return nil, err
	}
	if err := engine.CheckQuantization(in.Model.Spec, c.Quantization); err != nil {
		return nil, err
	}
	budget, err := c.Budget.Bytes()
	if err != nil {
		return nil, err
	}
	a := &Answerer{loaded: &loaded{
		adapter: in.Adapter, sampling: sampling, format: engine.FormatsOf(in.Model.Spec, c.Quantization), budget: budget, emit: emit,
	}}
	if a.processor, err = processor.New(in.Model, c.Model, processor.Options{
		ChatTemplate: in.ChatTemplate, TemplateArgs: c.Args(), Now: time.Now(),
	}); err != nil {
		return nil, err
	}
	for _, warning := range a.processor.Warnings {
		emit(events.Warning{Message: warning})
	}
	a.session, err = engine.Open(ctx, engine.Options{
		Model: c.Model, Device: c.Device, Autotune: c.Autotune, Budget: budget, Cache: in.Cache, Quantized: in.Quantized,
		HostMemory: in.HostMemory, Opened: in.Opened,
	}, in.Model, emit)
	if err != nil {
		return nil, err
	}
	return a, nil
}

// WithoutAdapter is the base model under an Answerer's adapter: it answers and measures as an Answerer of the model
// alone does, to the bit, with the weights that are loaded once for both. It lives until a is closed.
func (a *Answerer) WithoutAdapter() *Answerer { return &Answerer{a.loaded, true} }

// Close frees everything, also what WithoutAdapter gave.
func (a *Answerer) Close() {
	a.session.Release()
	closeAll(a.owned)
}

func closeAll(owned []func()) {
	for _, release := range owned {
		release()
	}
}

// roomStep is by how many tokens the memory for answers grows, so that a slightly longer prompt needs no more.
const roomStep = 256

// Answer gives the answer to one prompt to write, piece by piece. system may be empty; raw continues the prompt as it
// stands. The answer depends on nothing that was asked before. Errors are *usererr.Error for a prompt that the model
// does not hold, write's, and the device's.
func (a *Answerer) Answer(ctx context.Context, q settings.Question, write func(piece string) error) error {
	prompt, err := a.processor.Prompt(q.Prompt, q.System, q.Raw)
	if err != nil {
		return err
	}
	if err := a.ready(ctx, engine.Demand{AnswerTokens: a.room(len(prompt.IDs)+a.sampling.MaxTokens, roomStep)}); err != nil {
		return err
	}
	return Text(ctx, a.side().Generator(), a.processor, prompt, a.sampling, write)
}

// room is the memory for an answer in tokens, in steps, and not more than the model holds.
func (a *Answerer) room(tokens, step int) int {
	tokens = min(tokens, a.session.Source.Spec.MaxPositions)
	return (tokens + step - 1) / step * step
}

// side is the engine with the adapter or without.
func (a *Answerer) side() *engine.Engine {
	if a.bare {
		return a.engine.Base()
	}
	return a.engine
}

// Evaluate gives the mean loss over the target tokens of a data set: the answers', or with all every token's.
// maxSeqLength 0 means the model's limit. Errors are *usererr.Error for data that cannot be encoded and a loss that is
// not finite.
func (a *Answerer) Evaluate(ctx context.Context, data *dataset.Source, maxSeqLength int, all bool) (stats events.Eval, err error) {
	on := chat.TrainOnAssistant
	if all {
		on = chat.TrainOnAll
	}
	limit := a.session.Source.Spec.MaxPositions
	if maxSeqLength > 0 {
		limit = min(limit, maxSeqLength)
	}
	encoder := a.processor.Encoder(on, limit)
	encoder.Stop, encoder.Store = ctx.Err, a.samples
	samples, report, err := dataloader.Encode(encoder, data, a.emit)
	if err != nil {
		return stats, err
	}
	for _, warning := range report.Warnings(limit) {
		a.emit(events.Warning{Message: warning})
	}
	if err := a.ready(ctx, engine.Demand{EvalTokens: dataset.Longest(samples)}); err != nil {
		return stats, err
	}
	stats, err = dataloader.Evaluate(ctx, a.side(), samples, a.emit)
	if err == nil && !events.IsFinite(stats.Perplexity) {
		return stats, usererr.New("evaluate", data.Path, "the loss is %v", stats.Loss).
			Hinted("the adapter, the weights or their configuration may be damaged; `qlora-wgpu check` tests the device")
	}
	return stats, err
}

// ready loads the model and takes the memory for what is wanted beside what was wanted before. With a budget, and where
// the device has no room beside the weights, wanting more loads again, as far as possible from the cache.
func (a *Answerer) ready(ctx context.Context, more engine.Demand) (err error) {
	want := engine.Demand{Shape: a.session.Source.Spec, Format: a.format}
	want.AnswerTokens, want.EvalTokens = max(a.demand.AnswerTokens, more.AnswerTokens), max(a.demand.EvalTokens, more.EvalTokens)
	var fill func(*lora.Adapter) error
	if f := a.adapter; f != nil {
		want.Adapter = f.Config
		want.BaseAnswers = a.demand.BaseAnswers || a.bare && more.AnswerTokens > 0
		fill = func(adapter *lora.Adapter) error { return adapter.SetTensors(f.Tensors, f.Path) }
	}
	if a.engine != nil && want.AnswerTokens == a.demand.AnswerTokens && want.EvalTokens == a.demand.EvalTokens &&
		want.BaseAnswers == a.demand.BaseAnswers {
		return nil
	}
	load := a.engine == nil || a.engine.Plan().Budget > 0
	if !load {
		err = a.session.Extend(ctx, want)
		load = errors.As(err, new(*gpu.OutOfMemory)) // all of it is planned for what the device has
	}
	if load {
		a.engine, err = a.session.Prepare(ctx, want, engine.Trainable{Fill: fill})
	}
	if err != nil {
		a.engine, a.demand = nil, engine.Demand{} // of what was reserved a part may be gone
		return err
	}
	a.demand = want
	return nil
}
