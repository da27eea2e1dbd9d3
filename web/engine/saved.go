//go:build js

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/browser"
	"qlora-wgpu/internal/demo"
	"qlora-wgpu/trainer"
)

// What a run was started with lies beside its folder.
const (
	inputsDir  = "inputs"
	inputsFile = inputsDir + "/inputs.json"
	dataFile   = inputsDir + "/data"
)

// greeting is what the page needs to show itself.
type greeting struct {
	Adapter  gpu.AdapterInfo   `json:"adapter"`
	Defaults trainer.Config    `json:"defaults"`
	Demo     trainer.Config    `json:"demo"` // settings for the embedded model
	Heldout  []demo.Example    `json:"heldout"`
	Answer   int               `json:"answer_tokens"` // enough for the embedded model's answers
	Saved    *saved            `json:"saved"`         // a run to go on with, or null
	Log      []json.RawMessage `json:"log"`           // its trainer_log.jsonl
	Finished bool              `json:"finished"`      // the saved run has its adapter
}

type saved struct {
	inputs
	Step     int            `json:"step"`
	Settings trainer.Config `json:"settings"`
}

// hello opens the device and the file system, and looks for a run.
func (e *engine) hello(ctx context.Context, _ request) (any, error) {
	dev, err := e.device(ctx, 1)
	if err != nil {
		return nil, err
	}
	if e.store, err = browser.OpenStore(ctx); err != nil {
		return nil, err
	}
	lines, err := browser.Fetch(ctx, "demo/heldout.jsonl")
	if err != nil {
		return nil, err
	}
	heldout, err := lines.Bytes()
	if err != nil {
		return nil, err
	}
	g := greeting{Adapter: dev.Info, Defaults: trainer.Defaults(), Demo: demoSettings(), Answer: demo.Recipe.MaxNewTokens, Heldout: demo.Examples("heldout.jsonl", heldout)}
	g.Defaults.SaveSteps, g.Defaults.SaveTotalLimit = 10, 2
	g.Saved, g.Log, g.Finished, err = e.look()
	return g, err
}

// demoSettings is the recipe of the embedded model.
func demoSettings() trainer.Config {
	c, recipe := trainer.Defaults(), demo.Recipe
	c.LoraR, c.LoraAlpha = recipe.Rank, recipe.Alpha
	c.LearningRate, c.LRSchedulerType, c.WarmupRatio = recipe.LearningRate, recipe.Scheduler, recipe.WarmupRatio
	c.MaxSteps, c.BatchSize, c.GradientAccumulationSteps = recipe.Steps, recipe.BatchSize, recipe.GradientAccumulationSteps
	c.MaxSeqLength = recipe.MaxSeqLength
	c.SaveSteps, c.SaveTotalLimit, c.GradientCheckpointing = 10, 2, trainer.CheckpointOff // the activations of so small a model fit anywhere
	c.Autotune = "off"                                                                    // measuring takes longer than it saves on so small a model
	return c
}

// look finds the run that this browser holds.
func (e *engine) look() (*saved, []json.RawMessage, bool, error) {
	last, err := trainer.LastSaved(e.store, runDir)
	if err != nil || last == nil {
		return nil, nil, false, err
	}
	s := &saved{Step: last.Step, Settings: last.Settings}
	text, err := readAll(e.store, inputsFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, false, nil // not from this page
	}
	if err == nil {
		err = json.Unmarshal(text, &s.inputs)
	}
	if err != nil {
		return nil, nil, false, err
	}
	e.DataName = s.DataName
	var lines []json.RawMessage
	if log, err := readAll(e.store, runDir+"/trainer_log.jsonl"); err == nil {
		for line := range bytes.Lines(log) {
			if json.Valid(line) {
				lines = append(lines, json.RawMessage(line))
			}
		}
	}
	finished, _ := e.finished()
	return s, lines, finished, nil
}

// remember writes down what the run is started with.
func (e *engine) remember() error {
	if err := e.store.MakeDir(inputsDir); err != nil {
		return err
	}
	text, err := json.Marshal(e.inputs)
	if err != nil {
		return err
	}
	if err := writeAll(e.store, dataFile, e.bytes); err != nil {
		return err
	}
	return writeAll(e.store, inputsFile, text)
}

// forget removes the saved run.
func (e *engine) forget(context.Context, request) (any, error) {
	e.forgetAnswerers()
	for _, dir := range []string{runDir, inputsDir} {
		if err := e.store.Remove(dir); err != nil {
			return nil, err
		}
	}
	return nil, nil
}
