package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/merge"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

type mergeCommand struct {
	Settings settings.Merge `embed:""`
}

// Help says what is written.
func (m *mergeCommand) Help() string {
	return "Writes a Hugging Face folder that transformers loads as it loads the base model: the same weight files with the adapters added, " +
		"in the same or another type, its configuration, tokenizer and templates. It appears when all of it is written."
}

// Run merges and prints the folder.
func (m *mergeCommand) Run(c *console) error {
	s := m.Settings
	if err := s.Check(); err != nil {
		return err
	}
	model, err := host.OpenWhole(c.context, s.Model, c.logEvent)
	if err != nil {
		return err
	}
	defer model.Close()
	for _, warning := range model.Warnings {
		c.warn(warning)
	}
	if model.Config() == nil {
		return usererr.New("merge", s.Model, "the base is a GGUF file").Of(usererr.Unsupported).
			Hinted("take the Hugging Face folder of the model; its name on the hub will do")
	}
	var adapters []*lora.Files
	for _, name := range s.Adapters {
		path, err := host.FindAdapter(c.context, name, c.logEvent)
		if err != nil {
			return err
		}
		files, err := lora.Open(checkpoint.Files{}, filepath.ToSlash(path))
		if err != nil {
			return err
		}
		adapters = append(adapters, files)
	}
	base := merge.Base{Dequantized: s.Base == settings.BaseDequantized}
	if s.Quantize == settings.QuantizedNF4 {
		base.NF4 = &spec.Quantized{BlockSize: s.BlockSize, Double: true}
	}
	weights, warnings, err := merge.New(model, adapters, base)
	if err != nil {
		return err
	}
	for _, warning := range warnings {
		c.warn(warning)
	}
	o := merge.Options{Type: merge.Type(strings.TrimPrefix(s.DType, settings.DTypeAuto)), Card: m.card(model.Name)}
	o.Tell = func(p events.Part) { c.logEvent(events.Writing{Part: p}) }
	if err := weights.WriteFolder(c.context, checkpoint.Files{}, filepath.ToSlash(s.Output), o); err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.stdout, s.Output)
	return err
}

// card is the model card: what was merged into what.
func (m *mergeCommand) card(name string) []byte {
	base := cmp.Or(name, filepath.Base(filepath.Clean(m.Settings.Model)))
	var adapters []string
	for _, a := range m.Settings.Adapters {
		adapters = append(adapters, strconv.Quote(filepath.Base(filepath.Clean(a))))
	}
	what := "weights of the base model's files"
	if m.Settings.Base == settings.BaseDequantized {
		what = "base weights as training saw them"
	}
	return fmt.Appendf(nil, "---\nlibrary_name: transformers\nbase_model: %s\nbase_model_relation: merge\n---\n\n# Merged model\n\n"+
		"Adapters %s added to the %s by qlora-wgpu.\n", strconv.Quote(base), strings.Join(adapters, ", "), what)
}
