package main

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"time"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/ollama"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/processor"
	"qlora-wgpu/internal/usererr"
)

// modelfile is a Modelfile that is to be written.
type modelfile struct {
	name string
	text []byte
}

// newModelfile makes the Modelfile of a folder, before what it stands beside is written: what is wrong shows first.
func newModelfile(c *console, model *pretrained.Model, folder string, o ollama.Options) (*modelfile, error) {
	m := &modelfile{name: filepath.Join(folder, "Modelfile")}
	if there, err := (checkpoint.Files{}).Open(filepath.ToSlash(m.name)); err == nil {
		_ = there.Close() // it was not read
		return nil, usererr.New("write Modelfile", m.name, "the file is there already").Hinted("remove it, or choose another --output")
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, usererr.New("write Modelfile", m.name, "%w", err)
	}
	o.Now = time.Now()
	text, err := processor.New(model, model.Path(), processor.Options{Now: o.Now})
	if err != nil {
		return nil, err
	}
	var warnings []string
	if m.text, warnings, err = ollama.Modelfile(model, text, o); err != nil {
		return nil, err
	}
	for _, warning := range warnings {
		c.warn(warning)
	}
	return m, nil
}

// path is its name; empty: there is none.
func (m *modelfile) path() string {
	if m == nil {
		return ""
	}
	return m.name
}

// write writes the file, if there is one.
func (m *modelfile) write() error {
	if m == nil {
		return nil
	}
	return checkpoint.WriteFile(checkpoint.Files{}, filepath.ToSlash(m.name), func(f io.Writer) error {
		_, err := f.Write(m.text)
		return err
	})
}
