package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/convert"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/settings"
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
	model, err := openWhole(c, s.Model)
	if err != nil {
		return err
	}
	defer model.Close()
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
	base := convert.Base{Dequantized: s.Base == settings.BaseDequantized}
	if s.Quantize == settings.QuantizedNF4 {
		base.NF4 = &spec.Quantized{BlockSize: s.BlockSize, Double: true}
	}
	return writeModel(c, model, adapters, base, s.Written, convert.Options{Card: m.card(model.Name)})
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
