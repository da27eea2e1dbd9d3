//go:build js

package main

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
	"qlora-wgpu/trainer"
)

const cardFile = "README.md"

// finished tells whether the run has written its adapter.
func (e *engine) finished() (bool, error) {
	names, err := e.store.List(runDir)
	return slices.Contains(names, lora.WeightsFile), err
}

// adapterDir is the folder that holds the newest adapter: the run's, or its last checkpoint's.
func (e *engine) adapterDir() (dir string, names []string, err error) {
	if done, err := e.finished(); err != nil || done {
		return runDir, []string{lora.ConfigFile, lora.WeightsFile, cardFile}, err
	}
	last, err := trainer.LastSaved(e.store, runDir)
	if err == nil && last == nil {
		err = usererr.New("download adapter", "", "nothing has been trained yet")
	}
	if err != nil {
		return "", nil, err
	}
	return last.Path, []string{lora.ConfigFile, lora.WeightsFile}, nil
}

// adapterFile packs the adapter for PEFT.
func (e *engine) adapterFile(context.Context, request) (any, error) {
	dir, names, err := e.adapterDir()
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

// checkpointFile packs the newest checkpoint with what the program needs to go on from it.
func (e *engine) checkpointFile(context.Context, request) (any, error) {
	last, err := trainer.LastSaved(e.store, runDir)
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
	data, err := checkpoint.ReadBytes(e.store, dataFile, maxSaved)
	if err != nil {
		return nil, err
	}
	name := path.Base(last.Settings.Data)
	z.add(name, data)
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

// Bounds of what is unpacked.
const (
	maxMembers     = 64
	maxMemberBytes = 2 << 30
)

var checkpointFolder = regexp.MustCompile(`^checkpoint-[0-9]+$`)

// restore takes a checkpoint, its files or a zip with its folder, verifies it whole and puts it in the place of the
// saved run.
func (e *engine) restore(_ context.Context, r request) (any, error) {
	const incoming = "incoming"
	if err := e.store.Remove(incoming); err != nil {
		return nil, err
	}
	members, err := members(r.files)
	if err != nil {
		return nil, err
	}
	dir := incoming + "/checkpoint"
	if err := e.store.MakeDir(dir); err != nil {
		return nil, err
	}
	defer e.store.Remove(incoming)
	for _, m := range members {
		if err := e.unpack(dir+"/"+path.Base(m.name), m); err != nil {
			return nil, err
		}
	}
	last, err := trainer.OpenSaved(e.store, dir)
	if err != nil {
		return nil, err
	}
	for _, remove := range []string{runDir, inputsDir} {
		if err := e.store.Remove(remove); err != nil {
			return nil, err
		}
	}
	if err := e.store.MakeDir(runDir); err != nil {
		return nil, err
	}
	if err := e.store.Rename(dir, fmt.Sprintf("%s/checkpoint-%d", runDir, last.Step)); err != nil {
		return nil, err
	}
	return saved{inputs{ModelName: path.Base(last.Settings.Model), DataName: path.Base(last.Settings.Data)}, last.Step, last.Settings}, nil
}

// member is a file of a checkpoint.
type member struct {
	name string
	open func() (io.ReadCloser, error)
}

// members are the files of the one checkpoint among the files given. Names are used without their folders.
func members(files []file) (list []member, err error) {
	fail := func(format string, args ...any) ([]member, error) {
		return nil, usererr.New("read checkpoint", path.Base(files[0].name), format, args...).Of(usererr.Format).
			Hinted("choose the zip file that this page wrote, or all files of a checkpoint-N folder")
	}
	if len(files) == 1 && strings.HasSuffix(strings.ToLower(files[0].name), ".zip") {
		z, err := zip.NewReader(files[0].blob, files[0].blob.Size())
		if err != nil {
			return fail("%w", err)
		}
		for _, f := range z.File {
			if checkpointFolder.MatchString(path.Base(path.Dir(f.Name))) && !f.FileInfo().IsDir() {
				if f.UncompressedSize64 > maxMemberBytes {
					return fail("%s has %d bytes", f.Name, f.UncompressedSize64)
				}
				list = append(list, member{f.Name, f.Open})
			}
		}
	} else {
		for _, f := range files {
			list = append(list, member{f.name, func() (io.ReadCloser, error) {
				return io.NopCloser(io.NewSectionReader(f.blob, 0, f.blob.Size())), nil
			}})
		}
	}
	seen := map[string]bool{}
	for _, m := range list {
		base := path.Base(m.name)
		if seen[base] {
			return fail("it holds %s twice: choose one checkpoint", base)
		}
		seen[base] = true
	}
	if !seen["manifest.json"] || len(list) > maxMembers {
		return fail("it is no checkpoint: there is no manifest.json")
	}
	return list, nil
}

func (e *engine) unpack(name string, m member) error {
	r, err := m.open()
	if err != nil {
		return usererr.New("read checkpoint", m.name, "%w", err).Of(usererr.Format)
	}
	defer r.Close()
	w, err := e.store.Create(name)
	if err != nil {
		return err
	}
	n, err := io.Copy(w, io.LimitReader(r, maxMemberBytes+1))
	if closed := w.Close(); err == nil {
		err = closed
	}
	if err == nil && n > maxMemberBytes {
		err = fmt.Errorf("it is larger than %d bytes", maxMemberBytes)
	}
	if err != nil {
		return usererr.New("read checkpoint", m.name, "%w", err).Of(usererr.Format)
	}
	return nil
}
