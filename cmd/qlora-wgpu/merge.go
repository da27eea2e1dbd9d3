package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"qlora-wgpu/internal/convert"
	"qlora-wgpu/internal/settings"
)

type mergeCommand struct {
	Settings settings.Merge `embed:""`
	Reported `embed:""`
}

// Help says what is written.
func (m *mergeCommand) Help() string {
	return "Writes a Hugging Face folder that transformers loads as it loads the base model: the same weight files with the adapters added, " +
		"in the same or another type, its configuration, tokenizer and templates. It appears when all of it is written. " + helpReport
}

// Run merges, and prints the folder and how it drifts.
func (m *mergeCommand) Run(c *console) error {
	s := m.Settings
	if err := s.Check(); err != nil {
		return err
	}
	weights, err := openWeights(c, s.Model, s.Added)
	if err != nil {
		return err
	}
	defer weights.Close()
	return m.with(c, weights, s.Source, s.Added, outputs{Output: s.Output}, func() error {
		return writeFolder(c, weights, s.Written, convert.Options{Card: m.card(baseName(weights, s.Model))})
	})
}

// card is the model card: what was merged into what.
func (m *mergeCommand) card(base string) []byte {
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
