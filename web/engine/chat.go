//go:build js

package main

import (
	"context"

	"qlora-wgpu/internal/answer"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/lora"
	"qlora-wgpu/trainer"
)

// answerer holds the model twice, with a run's adapter and without.
type answerer struct {
	run         string
	base, tuned *answer.Answerer
}

func (e *engine) forgetAnswerer() {
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

// both is what the base model and the tuned one give.
type both[T any] struct {
	Base  T `json:"base"`
	Tuned T `json:"tuned"`
}

// chatArgs are the arguments of chat, beside the settings.
type chatArgs struct {
	Run    string
	Prompt string
}

// chat answers a question by the base model and by a run's adapter, piece by piece in events.
func (e *engine) chat(ctx context.Context, r request) (any, error) {
	var args chatArgs
	if err := r.decode(&args); err != nil {
		return nil, err
	}
	a, err := e.answerer(ctx, r, args.Run)
	if err != nil {
		return nil, err
	}
	for side, answerer := range map[string]*answer.Answerer{"base": a.base, "tuned": a.tuned} {
		err := answerer.Answer(ctx, settings.Question{Prompt: args.Prompt}, func(piece string) error {
			post(map[string]any{"event": "piece", "id": r.id, "side": side, "piece": piece})
			return ctx.Err()
		})
		if err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// measure gives the loss over all examples without the adapter and with it.
func (e *engine) measure(ctx context.Context, r request) (any, error) {
	var args runArgs
	if err := r.decode(&args); err != nil {
		return nil, err
	}
	a, err := e.answerer(ctx, r, args.Run)
	if err != nil {
		return nil, err
	}
	var out both[events.Eval]
	if out.Base, err = a.base.Evaluate(ctx, e.data, 0, false); err == nil {
		out.Tuned, err = a.tuned.Evaluate(ctx, e.data, 0, false)
	}
	return out, err
}

// answerer is the one of a run, which is opened where it is not.
func (e *engine) answerer(ctx context.Context, r request, run string) (*answerer, error) {
	if e.dev == nil || e.dev.Lost() != nil {
		e.releaseDevice()
	}
	if e.asked != nil && e.asked.run == run {
		return e.asked, nil
	}
	e.forgetAnswerer()
	if err := e.openAnswerer(ctx, r, run); err != nil {
		e.forgetAnswerer()
		return nil, err
	}
	return e.asked, nil
}

func (e *engine) openAnswerer(ctx context.Context, r request, run string) error {
	c, err := e.settings(r.args, runsDir+"/none")
	if err != nil {
		return err
	}
	f, err := folderOf(run)
	if err != nil {
		return err
	}
	dev, err := e.device(ctx, 1)
	if err != nil {
		return err
	}
	dir, _, err := e.adapterIn(f)
	if err != nil {
		return err
	}
	adapter, err := lora.Open(e.store, dir)
	if err != nil {
		return err
	}
	o := settings.Default[settings.Generate]()
	o.Source, o.Quantization, o.Autotune = c.Source, c.Quantization, "off"
	in := answer.Inputs{Model: e.model, Cache: cache{e.store}, Opened: dev}
	e.asked = &answerer{run: run}
	tell := func(ev trainer.Event) { e.emit(r, ev) }
	if e.asked.base, err = answer.New(ctx, o.Inference, o.Sampling, in, tell); err != nil {
		return err
	}
	in.Adapter = adapter
	e.asked.tuned, err = answer.New(ctx, o.Inference, o.Sampling, in, tell)
	return err
}
