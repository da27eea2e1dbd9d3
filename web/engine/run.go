//go:build js

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/browser"
	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/trainer"
)

// settings are the page's, as complete as in a checkpoint, with the names of what is open.
func (e *engine) settings(args []byte, output string) (trainer.Config, error) {
	c := trainer.Defaults()
	var in struct{ Settings json.RawMessage }
	if err := json.Unmarshal(args, &in); err != nil {
		return c, err
	}
	if _, err := settings.Read(in.Settings, &c); err != nil {
		return c, usererr.New("settings", "", "%w", err)
	}
	if e.model == nil || e.data == nil {
		return c, usererr.New("settings", "", "there is no model or no data set yet")
	}
	c.Model, c.Data, c.DataColumns, c.OutputDir = e.ModelName, e.DataName, e.Columns, output
	c.InitAdapter, c.ChatTemplate, c.Device, c.ResumeFromCheckpoint, c.Overwrite = "", "", "", "", false
	return c, nil
}

// emit posts an event of a request: {event: kind, id, message: for people, and under the kind what is decided by}.
func (e *engine) emit(r request, ev trainer.Event) {
	out := map[string]any{"event": ev.Kind(), "id": r.id, ev.Kind(): ev}
	if said := ev.String(); said != "" {
		out["message"] = said
	}
	if load, ok := ev.(events.Load); ok {
		e.loading(load)
		out["heap"] = &e.heap
	}
	post(out)
	if _, computes := ev.(events.Encoding); computes { // without a pause: a wish of the page's gets in
		browser.Yield()
	}
}

// loading follows the heap, and lets messages in: quantizing is work without a pause.
func (e *engine) loading(l events.Load) {
	switch {
	case l.Total == 0:
		e.heap.begin()
	case l.Done == l.Total:
		e.heap.end()
	}
	e.heap.sample()
	browser.Yield()
}

// device is the open one, or a new one. scale shortens submissions on a new one.
func (e *engine) device(ctx context.Context, scale float64) (*gpu.Device, error) {
	if e.dev != nil && e.dev.Lost() == nil {
		return e.dev, nil
	}
	e.releaseDevice()
	var err error
	e.dev, err = gpu.Open(ctx, gpu.Options{SubmitScale: scale})
	return e.dev, err
}

func (e *engine) releaseDevice() {
	e.forgetAnswerer()
	if e.dev != nil {
		e.dev.Release()
		e.dev = nil
	}
}

// tries is how often in a row a run that a lost device ended is taken up again without a step in between.
const tries = 3

// trainArgs are the arguments of train and prepare, beside the settings.
type trainArgs struct {
	Run       string // to go on with; empty: a new one
	Name      string // of a new one
	Page      json.RawMessage
	Prompts   []string
	Every     int
	MaxTokens int
	Memory    int64 // bytes that a run may take; 0: unknown
}

// train runs until it is done or taken back: a step that has begun is finished, and a checkpoint saved. When the device
// is lost it opens another one and goes on from the last checkpoint. It gives what the list of runs shows; a run of
// which nothing was saved leaves nothing behind.
func (e *engine) train(ctx context.Context, r request) (any, error) {
	var args trainArgs
	if err := r.decode(&args); err != nil {
		return nil, err
	}
	a, err := e.beginRun(args)
	if err != nil {
		return nil, err
	}
	post(map[string]any{"event": "run", "id": r.id, "run": a})
	err = e.trainIn(ctx, r, args, &a)
	if err != nil && a.State == "" {
		return nil, errors.Join(err, e.store.Remove(runsDir+"/"+a.ID))
	}
	return a, err
}

// beginRun finds the run to go on with, or makes the folder of a new one.
func (e *engine) beginRun(args trainArgs) (a about, err error) {
	if args.Run != "" {
		if a, err = e.readAbout(args.Run); err != nil {
			return a, err
		}
		if a.Fingerprint != "" && a.Fingerprint != e.Fingerprint {
			return a, usererr.New("go on", e.ModelName, "the run was trained on another model, %s", a.ModelName).
				Hinted("open that model again, or start a new run")
		}
		return a, nil
	}
	a = about{inputs: e.inputs, Name: args.Name, Page: args.Page, Date: time.Now()}
	if a.ID, err = e.newRun(a.Date); err != nil {
		return a, err
	}
	return a, checkpoint.WriteBytes(e.store, runFolder(runsDir+"/"+a.ID).data(), e.bytes)
}

func (e *engine) trainIn(ctx context.Context, r request, args trainArgs, a *about) error {
	c, err := e.settings(r.args, runFolder(runsDir+"/"+a.ID).output())
	if err != nil {
		return err
	}
	if args.Run != "" {
		c.ResumeFromCheckpoint = "auto"
	}
	e.forgetAnswerer()
	defer e.heap.end()
	in := e.runInputs(args)
	scale, failures := 1.0, 0
	var kept error
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	for {
		dev, err := e.device(ctx, scale)
		if err != nil {
			return err
		}
		in.Opened = dev
		_, err = e.attempt(ctx, c, in, func(ev trainer.Event) {
			if kept == nil {
				kept = e.keepAbout(a, ev)
			}
			if _, right := ev.(events.Reserved); right && kept == nil { // all that can be wrong with the inputs has been found by now
				kept = e.keepInputs(a)
			}
			if kept != nil {
				stop()
			}
			if _, step := ev.(events.Step); step {
				failures, c.ResumeFromCheckpoint = 0, "auto"
			}
			e.emit(r, ev)
		})
		if kept != nil {
			return kept
		}
		if err == nil || ctx.Err() != nil || dev.Lost() == nil && !errors.Is(err, trainer.ErrEngineFault) {
			return err
		}
		e.releaseDevice()
		if failures++; failures == tries {
			return fmt.Errorf("the GPU failed %d times in a row: %w", tries, err)
		}
		scale /= 2
		post(map[string]any{"event": "lost", "id": r.id, "message": err.Error()})
	}
}

func (e *engine) runInputs(args trainArgs) trainer.Inputs {
	return trainer.Inputs{
		Model: e.model, Data: e.data, Output: e.store, Cache: cache{e.store},
		Prompts: trainer.Prompts{Texts: args.Prompts, Every: args.Every, MaxTokens: args.MaxTokens}, Room: room(args.Memory),
		Watch: true,
	}
}

// prepare checks the device, compiles the shaders of a model that is loaded soon, and tells how long the run will take,
// while the user still looks at the page. What fails here fails again, and is told, at the start.
func (e *engine) prepare(ctx context.Context, r request) (any, error) {
	c, err := e.settings(r.args, runsDir+"/none") // nothing is written
	if err != nil {
		return nil, err
	}
	var args trainArgs
	if err := r.decode(&args); err != nil {
		return nil, err
	}
	in := e.runInputs(args)
	if in.Opened, err = e.device(ctx, 1); err != nil {
		return nil, err
	}
	defer e.heap.end()
	tell := func(ev trainer.Event) { e.emit(r, ev) }
	if e.Demo {
		if err := trainer.Prepare(ctx, c, in, tell); err != nil {
			return nil, err
		}
	}
	return trainer.Estimate(ctx, c, in, tell)
}

// attempt is one run. What panics on a device that is gone is that device's error.
func (e *engine) attempt(
	ctx context.Context, c trainer.Config, in trainer.Inputs, emit func(trainer.Event),
) (summary *trainer.Summary, err error) {
	defer func() {
		if in.Opened.Lost() != nil {
			if bug := recover(); bug != nil {
				err = fmt.Errorf("%v (%w)", in.Opened.Lost(), trainer.ErrEngineFault)
			}
		}
	}()
	return trainer.Run(ctx, c, in, emit)
}

// cache keeps what was measured about devices beside the run.
type cache struct{ store trainer.Output }

const cacheDir = "measured"

// maxSaved is more than a file of the private file system has, all of which the page writes itself.
const maxSaved = 4 << 30

func (c cache) Load(name string) ([]byte, error) {
	return checkpoint.ReadBytes(c.store, cacheDir+"/"+name, maxSaved)
}

func (c cache) Save(name string, data []byte) error {
	if err := c.store.MakeDir(cacheDir); err != nil {
		return err
	}
	return checkpoint.WriteBytes(c.store, cacheDir+"/"+name, data)
}
