//go:build js

package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path"
	"slices"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
	"qlora-wgpu/trainer"
)

const cardFile = "README.md"

// adapterIn is the folder that holds a run's newest adapter, its own or its last checkpoint's, and the files to take.
func (e *engine) adapterIn(f runFolder) (dir string, names []string, err error) {
	done, err := e.finished(f)
	if err != nil {
		return "", nil, usererr.New("open adapter", "", "the run is gone: %w", err)
	}
	if done {
		dir, names = f.output(), []string{lora.ConfigFile, lora.WeightsFile}
		if _, err := e.store.Open(dir + "/" + cardFile); err == nil {
			names = append(names, cardFile)
		}
		return dir, names, nil
	}
	last, err := trainer.LastSaved(e.store, f.output())
	if err == nil && last == nil {
		err = usererr.New("open adapter", "", "nothing has been trained yet")
	}
	if err != nil {
		return "", nil, err
	}
	return last.Path, []string{lora.ConfigFile, lora.WeightsFile}, nil
}

// adapterFile packs a run's adapter for PEFT.
func (e *engine) adapterFile(_ context.Context, r request) (any, error) {
	_, f, err := r.run()
	if err != nil {
		return nil, err
	}
	dir, names, err := e.adapterIn(f)
	if err != nil {
		return nil, err
	}
	z := newArchive()
	for _, name := range names {
		data, err := checkpoint.ReadBytes(e.store, dir+"/"+name, maxSaved)
		if err != nil {
			return nil, err
		}
		z.add("adapter/"+name, data)
	}
	return z.finish("adapter.zip")
}

// checkpointFile packs a run's newest checkpoint with what the program needs to go on from it.
func (e *engine) checkpointFile(_ context.Context, r request) (any, error) {
	_, f, err := r.run()
	if err != nil {
		return nil, err
	}
	last, err := trainer.LastSaved(e.store, f.output())
	if err != nil {
		return nil, err
	}
	if last == nil {
		return nil, usererr.New("download checkpoint", "", "there is no checkpoint yet")
	}
	names, err := e.store.List(last.Path)
	if err != nil {
		return nil, err
	}
	z := newArchive()
	slices.Sort(names)
	for _, name := range names {
		data, err := checkpoint.ReadBytes(e.store, last.Path+"/"+name, maxSaved)
		if err != nil {
			return nil, err
		}
		z.add("run/"+path.Base(last.Path)+"/"+name, data)
	}
	name := path.Base(last.Settings.Data)
	if data, err := checkpoint.ReadBytes(e.store, f.data(), maxSaved); err == nil { // an uploaded checkpoint has none
		z.add(name, data)
	}
	z.add("config.yaml", settingsFile(last.Settings))
	z.add("README.txt", fmt.Appendf(nil,
		"A checkpoint after step %d of %d, trained on %s over %s.\nGo on with it in this folder:\n\n  qlora-wgpu train --config config.yaml "+
			"--model MODEL --data %s --output-dir run --resume\n\nMODEL is the same model as in the browser (the embedded one: qlora-wgpu demo "+
			"writes it to out-demo/model).\n",
		last.Step, last.Settings.MaxSteps, name, last.Settings.Model, name))
	return z.finish(fmt.Sprintf("checkpoint-%d.zip", last.Step))
}

// settingsFile is a YAML file of the settings for --config, without the paths, which differ from machine to machine.
func settingsFile(c trainer.Config) []byte {
	text, err := json.Marshal(c)
	values := map[string]json.RawMessage{}
	if err == nil {
		err = json.Unmarshal(text, &values)
	}
	if err != nil {
		panic(err) // numbers, booleans, strings and lists of them
	}
	var b bytes.Buffer
	for _, key := range slices.Sorted(maps.Keys(values)) {
		switch key {
		case "model", "data", "output_dir", "overwrite", "init_adapter", "chat_template", "resume_from_checkpoint", "device":
			continue
		}
		fmt.Fprintf(&b, "%s: %s\n", key, values[key])
	}
	return b.Bytes()
}

// archive is a zip file in memory; weights do not compress.
type archive struct {
	buffer bytes.Buffer
	zip    *zip.Writer
	err    error
}

func newArchive() *archive {
	a := &archive{}
	a.zip = zip.NewWriter(&a.buffer)
	return a
}

func (a *archive) add(name string, data []byte) {
	w, err := a.zip.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Store})
	if err == nil {
		_, err = w.Write(data)
	}
	if a.err == nil {
		a.err = err
	}
}

func (a *archive) finish(name string) (any, error) {
	if err := a.zip.Close(); a.err == nil {
		a.err = err
	}
	return download{name, a.buffer.Bytes()}, a.err
}
