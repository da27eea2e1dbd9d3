//go:build js

package main

import (
	"bytes"
	"context"
	"strings"

	"qlora-wgpu/lora"
	"qlora-wgpu/trainer"
)

// answerers hold the model twice, with the adapter and without, for questions after a run.
type answerers struct{ base, tuned *trainer.Answerer }

func (e *engine) forgetAnswerers() {
	if e.asked == nil {
		return
	}
	for _, a := range []*trainer.Answerer{e.asked.base, e.asked.tuned} {
		if a != nil {
			a.Close()
		}
	}
	e.asked = nil
}

// ask answers one prompt by the base model and by the newest adapter.
func (e *engine) ask(ctx context.Context, r request) (any, error) {
	var args struct {
		Prompt    string
		MaxTokens int
	}
	c, err := e.settings(r.args)
	if err != nil {
		return nil, err
	}
	if err := r.decode(&args); err != nil {
		return nil, err
	}
	e.gpu.Lock()
	defer e.gpu.Unlock()
	ctx, e.stop = context.WithCancel(ctx)
	defer func() { e.stop = nil }()
	if e.dev == nil || e.dev.Lost() != nil {
		e.releaseDevice()
	}
	if e.asked == nil {
		if err := e.openAnswerers(ctx, c, args.MaxTokens); err != nil {
			e.forgetAnswerers()
			return nil, err
		}
	}
	var out struct {
		Base  string `json:"base"`
		Tuned string `json:"tuned"`
	}
	for _, a := range []struct {
		by   *trainer.Answerer
		text *string
	}{{e.asked.base, &out.Base}, {e.asked.tuned, &out.Tuned}} {
		var text strings.Builder
		if err := a.by.Answer(ctx, args.Prompt, func(piece string) error { text.WriteString(piece); return nil }); err != nil {
			return nil, err
		}
		*a.text = strings.TrimSpace(text.String())
	}
	return out, nil
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
	adapter := &trainer.AdapterFiles{Path: dir}
	text, err := readAll(e.store, dir+"/"+lora.ConfigFile)
	if err != nil {
		return err
	}
	if adapter.Config, err = lora.ReadConfig(text, dir+"/"+lora.ConfigFile); err != nil {
		return err
	}
	weights, err := readAll(e.store, dir+"/"+lora.WeightsFile)
	if err != nil {
		return err
	}
	if adapter.Tensors, err = lora.ReadWeights(bytes.NewReader(weights), int64(len(weights)), dir+"/"+lora.WeightsFile); err != nil {
		return err
	}
	o := trainer.GenerateOptions{Model: c.Model, MaxTokens: maxTokens, TopP: 1, BlockSize: c.BlockSize, Autotune: "off"}
	in := trainer.Inputs{Model: e.model, Cache: cache{e.store}, Opened: dev}
	e.asked = &answerers{}
	quiet := func(trainer.Event) {}
	if e.asked.base, err = trainer.NewAnswerer(ctx, o, in, quiet); err != nil {
		return err
	}
	in.Adapter = adapter
	e.asked.tuned, err = trainer.NewAnswerer(ctx, o, in, quiet)
	return err
}
