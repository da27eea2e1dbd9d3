package main

import (
	"fmt"
	"path/filepath"
	"strings"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/convert"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

// openWhole opens a model that is to be written anew, with all of its files.
func openWhole(c *console, name string) (*pretrained.Model, error) {
	model, err := host.OpenWhole(c.context, name, c.logEvent)
	if err != nil {
		return nil, err
	}
	for _, warning := range model.Warnings {
		c.warn(warning)
	}
	if model.Config() == nil {
		_ = model.Close() // it was only read
		return nil, usererr.New("write model", name, "the base is a GGUF file").Of(usererr.Unsupported).
			Hinted("take the Hugging Face folder of the model; its name on the hub will do")
	}
	return model, nil
}

// writeModel writes a model, with adapters where there are any, and prints the folder.
func writeModel(
	c *console, model *pretrained.Model, adapters []*lora.Files, base convert.Base, to settings.Written, o convert.Options,
) error {
	weights, warnings, err := convert.New(model, adapters, base)
	if err != nil {
		return err
	}
	for _, warning := range warnings {
		c.warn(warning)
	}
	o.Type = convert.Type(strings.TrimPrefix(to.DType, settings.DTypeAuto))
	o.Tell = func(p events.Part) { c.logEvent(events.Writing{Part: p}) }
	if err := weights.WriteFolder(c.context, checkpoint.Files{}, filepath.ToSlash(to.Output), o); err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.stdout, to.Output)
	return err
}
