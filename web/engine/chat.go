//go:build js

package main

import (
	"context"

	"qlora-wgpu/internal/answer"
	"qlora-wgpu/internal/browser"
	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/lora"
	"qlora-wgpu/trainer"
)

// answerer holds the model with a run's adapter, and answers without it too.
type answerer struct {
	run         string
	base, tuned *answer.Answerer
}

func (e *engine) forgetAnswerer() {
	if e.asked != nil {
		e.asked.tuned.Close()
	}
	e.asked = nil
}

// both is what the base model and the tuned one give.
type both[T any] struct {
	Base  T `json:"base"`
	Tuned T `json:"tuned"`
}

// turns are a conversation.
type turns []struct{ Role, Content string }

func (t turns) messages() (list []chat.Message) {
	for _, turn := range t {
		list = append(list, chat.Message{Role: turn.Role, Content: turn.Content})
	}
	return list
}

// chatArgs are the arguments of chat, beside the settings. A side without messages is not asked.
type chatArgs struct {
	Run         string
	Messages    both[turns]
	Temperature float64
	MaxTokens   int
	Seed        uint64
}

// chat goes on with a conversation by a run's adapter and without it: piece by piece in events, and tells how each side
// ended.
func (e *engine) chat(ctx context.Context, r request) (any, error) {
	var args chatArgs
	if err := r.decode(&args); err != nil {
		return nil, err
	}
	a, err := e.answerer(ctx, r, args.Run)
	if err != nil {
		return nil, err
	}
	sampling := settings.Default[settings.Sampling]()
	sampling.Temperature, sampling.MaxTokens, sampling.Seed = args.Temperature, args.MaxTokens, args.Seed
	var out both[answer.Result]
	for _, side := range []struct {
		name   string
		by     *answer.Answerer
		turns  turns
		result *answer.Result
	}{{"tuned", a.tuned, args.Messages.Tuned, &out.Tuned}, {"base", a.base, args.Messages.Base, &out.Base}} {
		if len(side.turns) == 0 {
			continue
		}
		*side.result, err = side.by.Chat(ctx, side.turns.messages(), sampling, func(piece string) error {
			if piece != "" {
				post(map[string]any{"event": "piece", "id": r.id, "side": side.name, "piece": piece})
			}
			browser.Yield() // a wish to stop gets in
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return out, nil
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
	err := e.openAnswerer(ctx, r, run)
	return e.asked, err
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
	in := answer.Inputs{Model: e.model, Cache: cache{e.store}, Opened: dev, Adapter: adapter}
	tuned, err := answer.New(ctx, o.Inference, o.Sampling, in, func(ev trainer.Event) { e.emit(r, ev) })
	if err != nil {
		return err
	}
	e.asked = &answerer{run, tuned.WithoutAdapter(), tuned}
	return nil
}
