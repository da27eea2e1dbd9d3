//go:build js

package main

import (
	"context"
	"time"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/browser"
	"qlora-wgpu/internal/demo"
	"qlora-wgpu/trainer"
)

// greeting is what the page needs to show itself.
type greeting struct {
	Adapter  gpu.AdapterInfo `json:"adapter"`
	Defaults trainer.Config  `json:"defaults"`
	Demo     trainer.Config  `json:"demo"`          // settings for the embedded model
	Answer   int             `json:"answer_tokens"` // enough for the embedded model's answers
	Runs     []about         `json:"runs"`          // that this browser holds, the newest first
	Unkept   string          `json:"unkept"`        // why nothing outlives the tab; empty: it does
}

// hello opens the device and the file system, and looks for runs.
func (e *engine) hello(ctx context.Context, _ request) (any, error) {
	dev, err := e.device(ctx, 1)
	if err != nil {
		return nil, err
	}
	g := greeting{Adapter: dev.Info, Defaults: tabSettings(), Demo: demoSettings(), Answer: demo.Recipe.MaxNewTokens}
	if e.store == nil {
		if opened, err := browser.OpenStore(ctx); err == nil {
			e.store = opened
		} else {
			e.store, g.Unkept = browser.NewMemory(), err.Error()
		}
		if err := e.adoptFormer(time.Now()); err != nil {
			return nil, err
		}
	}
	g.Runs, err = e.allRuns()
	return g, err
}

// tabSettings are what a model of the user's starts from: shapes with which a tab gets to its first steps soon.
func tabSettings() trainer.Config {
	c := trainer.Defaults()
	c.MaxSteps, c.SaveSteps, c.SaveTotalLimit = 30, 10, 2
	c.MaxSeqLength, c.BatchSize = 256, 1
	return c
}

// demoSettings is the recipe of the embedded model.
func demoSettings() trainer.Config {
	c := trainer.Defaults()
	demo.Recipe.Set(&c)
	// the activations of so small a model fit anywhere
	c.SaveSteps, c.SaveTotalLimit, c.GradientCheckpointing = 10, 2, trainer.CheckpointOff
	c.Autotune = "off" // measuring takes longer than it saves on so small a model
	return c
}
