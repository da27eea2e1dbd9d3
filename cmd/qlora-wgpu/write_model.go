package main

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"qlora-wgpu/internal/adapters"
	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/convert"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

// openWeights opens a model that is to be written anew, with all of its files, and adds adapters to it. Closing the
// weights closes the model.
func openWeights(c *console, name string, added settings.Added) (*convert.Weights, error) {
	model, err := host.OpenWhole(c.context, name, c.logEvent)
	if err != nil {
		return nil, err
	}
	for _, warning := range model.Warnings {
		c.warn(warning)
	}
	files, err := openAdapters(c, model.Spec, added.Adapters)
	if err != nil {
		_ = model.Close() // it was only read
		return nil, err
	}
	base := convert.Base{Dequantized: added.Base == settings.BaseDequantized}
	if added.Quantize == settings.QuantizedNF4 {
		base.NF4 = &spec.Quantized{BlockSize: added.BlockSize, Double: true}
	}
	weights, warnings, err := convert.New(model, files, base)
	if err != nil {
		_ = model.Close()
		return nil, err
	}
	for _, warning := range warnings {
		c.warn(warning)
	}
	return weights, nil
}

func openAdapters(c *console, s spec.Spec, names []string) (list []*lora.Files, err error) {
	for _, name := range names {
		adapter, err := adapters.Find(c.context, name, c.logEvent)
		if err != nil {
			return nil, err
		}
		files, err := adapter.For(s)
		if err != nil {
			return nil, err
		}
		list = append(list, files)
	}
	return list, nil
}

// baseName is what cards and files call a model.
func baseName(weights *convert.Weights, name string) string {
	return cmp.Or(weights.Name(), strings.TrimSuffix(filepath.Base(filepath.Clean(name)), ".gguf"))
}

// writeFolder writes a Hugging Face folder.
func writeFolder(c *console, weights *convert.Weights, to settings.Written, o convert.Options) error {
	if of := filepath.Dir(weights.Model().Files()[0]); weights.IsFolder() && isWithin(to.Output, of) {
		return usererr.New("write model", to.Output, "the folder lies in that of the model, %s", of).Hinted("choose another --output")
	}
	o.Type = convert.Type(strings.TrimPrefix(to.DType, settings.DTypeAuto))
	o.Tell = func(p events.Part) { c.logEvent(events.Writing{Part: p}) }
	return weights.WriteFolder(c.context, checkpoint.Files{}, filepath.ToSlash(to.Output), o)
}

// printed prints what was written, unless that failed.
func printed(c *console, output string, err error) error {
	if err == nil {
		_, err = fmt.Fprintln(c.stdout, output)
	}
	return err
}

// isWithin tells whether a path, of which the last parts may not be there, leads into a folder, by whatever links.
func isWithin(path, folder string) bool {
	of, err := os.Stat(folder)
	if err != nil {
		return false
	}
	if path, err = filepath.Abs(path); err != nil {
		return false
	}
	up := func(stop func() bool) bool {
		for !stop() {
			above := filepath.Dir(path)
			if above == path {
				return false
			}
			path = above
		}
		return true
	}
	return up(func() bool { // to what is there of it, without links
		real, err := filepath.EvalSymlinks(path)
		if err == nil {
			path = real
		}
		return err == nil
	}) && up(func() bool {
		at, err := os.Stat(path)
		return err == nil && os.SameFile(at, of)
	})
}

// fileType is a value of type.
func fileType(name string) gguf.FileType {
	if name == settings.TypeAuto {
		return gguf.MostlyQ8_0
	}
	return gguf.FileTypes[name]
}

// writeGGUF writes a GGUF file.
func writeGGUF(c *console, weights *convert.Weights, name, output, kind string) error {
	file, warnings, err := weights.GGUF(convert.GGUFOptions{
		Type: fileType(kind), Name: baseName(weights, name), Tell: func(p events.Part) { c.logEvent(events.Writing{Part: p}) },
	})
	if err != nil {
		return err
	}
	for _, warning := range warnings {
		c.warn(warning)
	}
	return file.Write(c.context, checkpoint.Files{}, filepath.ToSlash(output))
}
