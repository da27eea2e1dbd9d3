//go:build js

package main

import (
	"context"
	"strings"

	"qlora-wgpu/internal/answer"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/lora"
	"qlora-wgpu/trainer"
)

// answerers hold the model twice, with the adapter and without, for questions after a run.
type answerers struct {
	base, tuned *answer.Answerer
	maxTokens   int // of an answer
}

func (e *engine) forgetAnswerers() {
	if e.asked == nil {
		return
	}
	for _, a := range []*answer.Answerer{e.asked.base, e.asked.tuned} {
		if a != nil {
			a.Close()
		}
	}
	e.asked = nil
}

// both is what the base model and the newest adapter say.
type both[T any] struct {
	Base  T `json:"base"`
	Tuned T `json:"tuned"`
}

// askArgs are the arguments of ask and measure, beside the settings.
type askArgs struct {
	Prompt    string
	MaxTokens int
}

// ask answers one prompt by the base model and by the newest adapter.
func (e *engine) ask(ctx context.Context, r request) (any, error) {
	return compare(e, ctx, r, func(ctx context.Context, a *answer.Answerer, args askArgs) (string, error) {
		var text strings.Builder
		err := a.Answer(ctx, settings.Question{Prompt: args.Prompt}, func(piece string) error { text.WriteString(piece); return nil })
		return strings.TrimSpace(text.String()), err
	})
}

// measure gives the loss over all examples without the adapter and with it.
func (e *engine) measure(ctx context.Context, r request) (any, error) {
	return compare(e, ctx, r, func(ctx context.Context, a *answer.Answerer, _ askArgs) (events.Eval, error) {
		return a.Evaluate(ctx, e.data, 0, false)
	})
}

// compare has the base model and the tuned one do the same.
func compare[T any](
	e *engine, ctx context.Context, r request, do func(context.Context, *answer.Answerer, askArgs) (T, error),
) (out both[T], err error) {
	c, err := e.settings(r.args)
	if err != nil {
		return out, err
	}
	args := askArgs{MaxTokens: 1}
	if err := r.decode(&args); err != nil {
		return out, err
	}
	e.gpu.Lock()
	defer e.gpu.Unlock()
	ctx, e.stop = context.WithCancel(ctx)
	defer func() { e.stop = nil }()
	if e.dev == nil || e.dev.Lost() != nil {
		e.releaseDevice()
	}
	if e.asked != nil && e.asked.maxTokens != args.MaxTokens {
		e.forgetAnswerers()
	}
	if e.asked == nil {
		if err := e.openAnswerers(ctx, c, args.MaxTokens); err != nil {
			e.forgetAnswerers()
			return out, err
		}
	}
	if out.Base, err = do(ctx, e.asked.base, args); err == nil {
		out.Tuned, err = do(ctx, e.asked.tuned, args)
	}
	return out, err
}

func (e *engine) openAnswerers(ctx context.Context, c trainer.Config, maxTokens int) error {
	dev, err := e.device(ctx, 1)
	if err != nil {
		return err
	}
	dir, _, err := e.adapterDir()
	if err != nil {
		return err
	}
	adapter, err := lora.Open(e.store, dir)
	if err != nil {
		return err
	}
	o := settings.Default[settings.Generate]()
	o.Source, o.Quantization, o.MaxTokens, o.Autotune = c.Source, c.Quantization, maxTokens, "off"
	in := answer.Inputs{Model: e.model, Cache: cache{e.store}, Opened: dev}
	e.asked = &answerers{maxTokens: maxTokens}
	quiet := func(trainer.Event) {}
	if e.asked.base, err = answer.New(ctx, o.Inference, o.Sampling, in, quiet); err != nil {
		return err
	}
	in.Adapter = adapter
	e.asked.tuned, err = answer.New(ctx, o.Inference, o.Sampling, in, quiet)
	return err
}
