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
	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/demo"
	"qlora-wgpu/internal/usererr"
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
	g := greeting{
		Adapter: dev.Info, Defaults: tabSettings(), Demo: demoSettings(), Answer: demo.Recipe.MaxNewTokens,
		Heldout: demo.Examples("heldout.jsonl", heldout),
	}
	g.Saved, g.Log, g.Finished, err = e.look()
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
	c, recipe := trainer.Defaults(), demo.Recipe
	c.LoraR, c.LoraAlpha = recipe.Rank, recipe.Alpha
	c.LearningRate, c.LRSchedulerType, c.WarmupRatio = recipe.LearningRate, recipe.Scheduler, recipe.WarmupRatio
	c.MaxSteps, c.BatchSize, c.GradientAccumulationSteps = recipe.Steps, recipe.BatchSize, recipe.GradientAccumulationSteps
	c.MaxSeqLength = recipe.MaxSeqLength
	// the activations of so small a model fit anywhere
	c.SaveSteps, c.SaveTotalLimit, c.GradientCheckpointing = 10, 2, trainer.CheckpointOff
	c.Autotune = "off" // measuring takes longer than it saves on so small a model
	return c
}

// look finds the run that this browser holds.
func (e *engine) look() (*saved, []json.RawMessage, bool, error) {
	last, err := trainer.LastSaved(e.store, runDir)
	if err != nil || last == nil {
		return nil, nil, false, err
	}
	s := &saved{Step: last.Step, Settings: last.Settings}
	text, err := checkpoint.ReadBytes(e.store, inputsFile, maxSaved)
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
	lines := []json.RawMessage{} // none where the log is gone, but not null
	if log, err := checkpoint.ReadBytes(e.store, runDir+"/trainer_log.jsonl", maxSaved); err == nil {
		for line := range bytes.Lines(log) {
			if json.Valid(line) {
				lines = append(lines, json.RawMessage(line))
			}
		}
	}
	finished, _ := e.finished()
	return s, lines, finished, nil
}

// sameModel refuses to go on with another model than the one that the saved run was trained on, as far as that is
// known.
func (e *engine) sameModel() error {
	run, _, _, err := e.look()
	if err != nil || run == nil || run.Fingerprint == "" || run.Fingerprint == e.Fingerprint {
		return err
	}
	return usererr.New("go on", e.ModelName, "the run was trained on another model, %s", run.ModelName).
		Hinted("choose that model again, or start over")
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
	if err := checkpoint.WriteBytes(e.store, dataFile, e.bytes); err != nil {
		return err
	}
	return checkpoint.WriteBytes(e.store, inputsFile, text)
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
