//go:build js

package main

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
	"qlora-wgpu/trainer"
)

// Bounds of what is unpacked.
const (
	maxMembers     = 64
	maxMemberBytes = 2 << 30
)

// restore takes a checkpoint or an adapter, their files or a zip with their folder, verifies it whole and makes it a
// run of the list.
func (e *engine) restore(_ context.Context, r request) (any, error) {
	a := about{Date: time.Now()}
	members, beside, kind, err := members(r.files)
	if err != nil {
		return nil, err
	}
	if a.ID, err = e.newRun(a.Date); err != nil {
		return nil, err
	}
	f := runFolder(runsDir + "/" + a.ID)
	if a.State = kind; kind == stateAdapter {
		err = e.restoreAdapter(f, members, &a)
	} else {
		err = e.restoreCheckpoint(f, members, beside, &a)
	}
	if err == nil {
		err = e.writeAbout(a)
	}
	if err != nil {
		return nil, errors.Join(err, e.store.Remove(string(f)))
	}
	return a, nil
}

func (e *engine) restoreCheckpoint(f runFolder, members, beside []member, a *about) error {
	dir := f.output() + "/incoming"
	if err := e.unpackAll(dir, members); err != nil {
		return err
	}
	last, err := trainer.OpenSaved(e.store, dir)
	if err != nil {
		return err
	}
	a.Step, a.MaxSteps = last.Step, last.Settings.MaxSteps
	a.ModelName, a.DataName = path.Base(last.Settings.Model), path.Base(last.Settings.Data)
	a.Name = fmt.Sprintf("checkpoint-%d", last.Step)
	for _, m := range beside {
		if m.name == a.DataName {
			if err := e.unpack(f.data(), m); err != nil {
				return err
			}
		}
	}
	return e.store.Rename(dir, fmt.Sprintf("%s/checkpoint-%d", f.output(), last.Step))
}

func (e *engine) restoreAdapter(f runFolder, members []member, a *about) error {
	if err := e.unpackAll(f.output(), members); err != nil {
		return err
	}
	a.Name = "adapter"
	_, err := lora.Open(e.store, f.output())
	return err
}

func (e *engine) unpackAll(dir string, members []member) error {
	if err := e.store.MakeDir(dir); err != nil {
		return err
	}
	for _, m := range members {
		if err := e.unpack(dir+"/"+path.Base(m.name), m); err != nil {
			return err
		}
	}
	return nil
}

// member is a file of a checkpoint or an adapter.
type member struct {
	name string
	size uint64
	open func() (io.ReadCloser, error)
}

// members are the files of the newest checkpoint among the files given, or where there is none of the adapter. A zip
// file may hold several folders; names are used without them. beside are the files at the top of one, among which this
// page lays a checkpoint's examples.
func members(files []file) (list, beside []member, kind string, err error) {
	fail := func(format string, args ...any) ([]member, []member, string, error) {
		return nil, nil, "", usererr.New("read checkpoint or adapter", path.Base(files[0].name), format, args...).Of(usererr.Format).
			Hinted("choose a zip file that this page wrote, all files of a checkpoint-N folder, or adapter_config.json and " +
				"adapter_model.safetensors")
	}
	folders := map[string][]member{}
	if len(files) == 1 && strings.HasSuffix(strings.ToLower(files[0].name), ".zip") {
		z, err := zip.NewReader(files[0].blob, files[0].blob.Size())
		if err != nil {
			return fail("%w", err)
		}
		for _, f := range z.File {
			if !f.FileInfo().IsDir() {
				folders[path.Dir(f.Name)] = append(folders[path.Dir(f.Name)], member{f.Name, f.UncompressedSize64, f.Open})
			}
		}
	} else {
		for _, f := range files {
			folders["."] = append(folders["."], member{f.name, uint64(f.blob.Size()), func() (io.ReadCloser, error) {
				return io.NopCloser(io.NewSectionReader(f.blob, 0, f.blob.Size())), nil
			}})
		}
	}
	dir, kind := theOne(folders)
	if kind == "" {
		return fail("there is neither a checkpoint (manifest.json) nor an adapter (%s) in it", lora.ConfigFile)
	}
	list = folders[dir]
	if dir != "." {
		beside = folders["."]
	}
	if kind == stateAdapter { // what else lies beside it is not read
		list = slices.DeleteFunc(list, func(m member) bool {
			return !slices.Contains([]string{lora.ConfigFile, lora.WeightsFile, cardFile}, path.Base(m.name))
		})
	}
	if len(list) > maxMembers {
		return fail("%s holds %d files", dir, len(list))
	}
	seen := map[string]bool{}
	for _, m := range list {
		base := path.Base(m.name)
		if seen[base] {
			return fail("it holds %s twice: choose one checkpoint", base)
		}
		if seen[base] = true; m.size > maxMemberBytes {
			return fail("%s has %d bytes", m.name, m.size)
		}
	}
	return list, beside, kind, nil
}

// theOne is the folder to take: the checkpoint of the latest step, or else the outermost adapter.
func theOne(folders map[string][]member) (dir, kind string) {
	latest := -1
	for name, list := range folders {
		has := func(file string) bool {
			return slices.ContainsFunc(list, func(m member) bool { return path.Base(m.name) == file })
		}
		switch step, err := strconv.Atoi(strings.TrimPrefix(path.Base(name), "checkpoint-")); {
		case has("manifest.json"):
			if err != nil {
				step = 0
			}
			if step > latest {
				dir, kind, latest = name, statePaused, step
			}
		case kind != statePaused && has(lora.ConfigFile) && (kind == "" || strings.Count(name, "/") < strings.Count(dir, "/")):
			dir, kind = name, stateAdapter
		}
	}
	return dir, kind
}

func (e *engine) unpack(name string, m member) error {
	r, err := m.open()
	if err != nil {
		return usererr.New("read checkpoint or adapter", m.name, "%w", err).Of(usererr.Format)
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
		return usererr.New("read checkpoint or adapter", m.name, "%w", err).Of(usererr.Format)
	}
	return nil
}
