//go:build js

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
	"qlora-wgpu/trainer"
)

// A run is a folder of the browser's private file system: the trainer's output, the data that it was started with, and
// what the page's list shows of it.
const runsDir = "runs"

type runFolder string // its path

func folderOf(id string) (runFolder, error) {
	if id == "" || strings.ContainsAny(id, `/\`) || strings.HasPrefix(id, ".") {
		return "", fmt.Errorf("%q is no run's name", id)
	}
	return runFolder(runsDir + "/" + id), nil
}

func (f runFolder) output() string { return string(f) + "/run" }
func (f runFolder) data() string   { return string(f) + "/data" }
func (f runFolder) about() string  { return string(f) + "/about.json" }

// inputs names what a run was started with.
type inputs struct {
	Demo      bool   `json:"demo"` // the embedded model
	ModelName string `json:"model"`
	DataName  string `json:"data"`
	Columns   string `json:"columns,omitempty"` // data_columns
	// Fingerprint tells the model's files from others, whatever their names.
	Fingerprint string `json:"fingerprint,omitempty"`
}

// about is what the page's list shows of a run.
type about struct {
	ID string `json:"id"`
	inputs
	Name     string          `json:"name"` // that the user gave it, or the page
	Date     time.Time       `json:"date"`
	Step     int             `json:"step"` // of the newest checkpoint, or of the whole run
	MaxSteps int             `json:"max_steps"`
	Loss     float64         `json:"loss"`      // of the newest step
	EvalLoss *float64        `json:"eval_loss"` // of the newest evaluation, null: none
	State    string          `json:"state"`     // paused, done, or adapter: one that came from elsewhere
	Page     json.RawMessage `json:"page,omitempty"`
}

// The states of a run.
const (
	statePaused  = "paused"
	stateDone    = "done"
	stateAdapter = "adapter"
)

const maxAbout = 1 << 20

func (e *engine) readAbout(id string) (a about, err error) {
	f, err := folderOf(id)
	if err != nil {
		return a, err
	}
	text, err := checkpoint.ReadBytes(e.store, f.about(), maxAbout)
	if err == nil {
		err = json.Unmarshal(text, &a)
	}
	a.ID = id
	return a, err
}

func (e *engine) writeAbout(a about) error {
	text, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return checkpoint.WriteBytes(e.store, runFolder(runsDir+"/"+a.ID).about(), text)
}

// newRun makes the folder of another run.
func (e *engine) newRun(now time.Time) (string, error) {
	names, err := e.list(runsDir)
	if err != nil {
		return "", err
	}
	id := now.Format("20060102-150405")
	for at := 2; slices.Contains(names, id); at++ {
		id = fmt.Sprintf("%s-%d", now.Format("20060102-150405"), at)
	}
	return id, e.store.MakeDir(runsDir + "/" + id)
}

// list gives the names in a folder, none where it is not there.
func (e *engine) list(dir string) ([]string, error) {
	names, err := e.store.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return names, err
}

// allRuns are the runs that this browser holds, the newest first. A folder without a step to go on from, which a tab
// left that was closed, is removed.
func (e *engine) allRuns() ([]about, error) {
	names, err := e.list(runsDir)
	if err != nil {
		return nil, err
	}
	all := []about{}
	for _, id := range names {
		a, err := e.readAbout(id)
		if err != nil || a.State == "" {
			if a, err = e.recover(id); err != nil {
				return nil, err
			}
		}
		if a.State != "" {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(a, b about) int { return cmp.Or(b.Date.Compare(a.Date), cmp.Compare(b.ID, a.ID)) })
	return all, nil
}

// recover finds out what became of a run whose tab was closed, and removes one that came to nothing.
func (e *engine) recover(id string) (a about, err error) {
	f := runFolder(runsDir + "/" + id)
	if read, err := e.readAbout(id); err == nil {
		a = read
	}
	a.ID = id
	last, err := trainer.LastSaved(e.store, f.output())
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && last == nil:
		return about{}, e.store.Remove(string(f))
	case err != nil:
		return about{}, err
	}
	a.Step, a.MaxSteps, a.State = last.Step, last.Settings.MaxSteps, statePaused
	if a.ModelName == "" {
		a.ModelName, a.DataName = path.Base(last.Settings.Model), path.Base(last.Settings.Data)
	}
	if done, err := e.finished(f); err == nil && done {
		a.State = stateDone
	}
	return a, e.writeAbout(a)
}

// Where the page kept its only run before it had several.
const (
	formerRun    = "run"
	formerInputs = "inputs"
)

// adoptFormer makes the run that an earlier version of the page left one of the list.
func (e *engine) adoptFormer(now time.Time) error {
	last, err := trainer.LastSaved(e.store, formerRun)
	if err != nil || last == nil {
		return nil // none, or one that no version reads: it stays where it is
	}
	a := about{Date: now, Step: last.Step, MaxSteps: last.Settings.MaxSteps, State: statePaused}
	text, err := checkpoint.ReadBytes(e.store, formerInputs+"/inputs.json", maxAbout)
	if err == nil {
		err = json.Unmarshal(text, &a.inputs)
	}
	if err != nil {
		return nil // not from this page
	}
	if a.ID, err = e.newRun(now); err != nil {
		return err
	}
	f := runFolder(runsDir + "/" + a.ID)
	if err := e.moveFolder(formerRun, f.output()); err != nil {
		return err
	}
	if err := e.store.Rename(formerInputs+"/data", f.data()); err != nil {
		return err
	}
	if done, err := e.finished(f); err == nil && done {
		a.State = stateDone
	}
	if err := e.writeAbout(a); err != nil {
		return err
	}
	return errors.Join(e.store.Remove(formerRun), e.store.Remove(formerInputs))
}

// moveFolder moves a run's folder with its checkpoints.
func (e *engine) moveFolder(from, to string) error {
	names, err := e.store.List(from)
	if err != nil {
		return err
	}
	if err := e.store.MakeDir(to); err != nil {
		return err
	}
	for _, name := range names {
		if err := e.store.Rename(from+"/"+name, to+"/"+name); err != nil {
			return err
		}
	}
	return nil
}

// runs lists the runs.
func (e *engine) runs(context.Context, request) (any, error) { return e.allRuns() }

// runArgs name a run.
type runArgs struct {
	Run  string
	Name string          // rename
	Page json.RawMessage // rename: what the page keeps with it
}

func (r request) run() (a runArgs, f runFolder, err error) {
	if err = r.decode(&a); err == nil {
		f, err = folderOf(a.Run)
	}
	return a, f, err
}

// opened is a run with what it logged.
type opened struct {
	about
	Settings trainer.Config    `json:"settings"`
	Unfed    bool              `json:"unfed"` // its data are not kept: it came from elsewhere
	Log      []json.RawMessage `json:"log"`   // its trainer_log.jsonl
}

// openRun gives a run's settings and its log.
func (e *engine) openRun(_ context.Context, r request) (any, error) {
	args, f, err := r.run()
	if err != nil {
		return nil, err
	}
	a, err := e.readAbout(args.Run)
	if err != nil {
		return nil, usererr.New("open run", args.Run, "%w", err).Hinted("it may have been deleted in another tab")
	}
	out := opened{about: a, Settings: tabSettings(), Log: e.readLog(f)}
	if _, err := e.store.Open(f.data()); err != nil {
		out.Unfed = true
	}
	if a.State == stateAdapter {
		return out, nil
	}
	last, err := trainer.LastSaved(e.store, f.output())
	if err != nil {
		return nil, err
	}
	if last == nil {
		return nil, usererr.New("open run", args.Run, "its checkpoints are gone").Hinted("delete it")
	}
	out.Step, out.Settings = last.Step, last.Settings
	return out, nil
}

// readLog gives the lines of a run's log: none where it is gone, but not null.
func (e *engine) readLog(f runFolder) []json.RawMessage {
	lines := []json.RawMessage{}
	if log, err := checkpoint.ReadBytes(e.store, f.output()+"/trainer_log.jsonl", maxSaved); err == nil {
		for line := range bytes.Lines(log) {
			if json.Valid(line) {
				lines = append(lines, json.RawMessage(line))
			}
		}
	}
	return lines
}

// rename gives a run another name, and keeps what the page wants to find with it.
func (e *engine) rename(_ context.Context, r request) (any, error) {
	args, _, err := r.run()
	if err != nil {
		return nil, err
	}
	a, err := e.readAbout(args.Run)
	if err != nil {
		return nil, err
	}
	if args.Name != "" {
		a.Name = args.Name
	}
	if args.Page != nil {
		a.Page = args.Page
	}
	return nil, e.writeAbout(a)
}

// deleteRun removes one run.
func (e *engine) deleteRun(_ context.Context, r request) (any, error) {
	_, f, err := r.run()
	if err != nil {
		return nil, err
	}
	e.forgetAnswerer()
	return nil, e.store.Remove(string(f))
}

// forget removes all runs, and what was measured about this device.
func (e *engine) forget(context.Context, request) (any, error) {
	e.forgetAnswerer()
	var failed error
	for _, dir := range []string{runsDir, formerRun, formerInputs, cacheDir} {
		failed = errors.Join(failed, e.store.Remove(dir))
	}
	return nil, failed
}

// finished tells whether a run has written its adapter.
func (e *engine) finished(f runFolder) (bool, error) {
	names, err := e.store.List(f.output())
	return slices.Contains(names, lora.WeightsFile), err
}

// keepAbout follows a run's events in what the list shows of it.
func (e *engine) keepAbout(a *about, ev trainer.Event) error {
	switch ev := ev.(type) {
	case events.Step:
		a.MaxSteps = ev.MaxSteps
		if events.IsFinite(ev.Loss) {
			a.Loss = ev.Loss
		}
	case events.Eval:
		if events.IsFinite(ev.Loss) {
			a.EvalLoss = &ev.Loss
		}
	case events.Checkpoint:
		a.Step, a.State = ev.Step, statePaused
		return e.writeAbout(*a)
	case events.Done:
		a.Step, a.State = a.MaxSteps, stateDone
		return e.writeAbout(*a)
	}
	return nil
}

// keepInputs keeps with a run that came from elsewhere what it goes on with here.
func (e *engine) keepInputs(a *about) error {
	data := runFolder(runsDir + "/" + a.ID).data()
	if _, err := e.store.Open(data); err == nil {
		return nil
	}
	a.inputs = e.inputs
	return checkpoint.WriteBytes(e.store, data, e.bytes)
}
