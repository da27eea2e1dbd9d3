package main

import (
	"path/filepath"

	"qlora-wgpu/internal/ollama"
	"qlora-wgpu/internal/settings"
)

type exportCommand struct {
	Settings settings.Export `embed:""`
	Reported `embed:""`
}

// Help says what is written.
func (e *exportCommand) Help() string {
	return "Writes the model, with the adapters added where there are any, as a GGUF file: weights, tokenizer and chat template, quantized " +
		"to the bytes that llama.cpp's own tool would write. With --adapter-only the adapter alone as a GGUF LoRA, with --format mlx as a " +
		"folder for mlx-lm. It appears when all of it is written. " + helpReport
}

// Run writes the file, and prints its name and how it drifts.
func (e *exportCommand) Run(c *console) error {
	s := e.Settings
	if err := s.Check(); err != nil {
		return err
	}
	if s.OfAdapter() {
		return exportAdapter(c, s, e.JSON)
	}
	weights, err := openWeights(c, s.Model, s.Added)
	if err != nil {
		return err
	}
	defer weights.Close()
	var beside *modelfile
	if s.Ollama {
		if beside, err = newModelfile(c, weights.Model(), filepath.Dir(s.Output), ollama.Options{From: filepath.Base(s.Output)}); err != nil {
			return err
		}
	}
	return e.with(c, weights, s.Source, s.Added, outputs{Output: s.Output, Modelfile: beside.path()}, func() error {
		if err := writeGGUF(c, weights, s.Model, s.Output, s.Type); err != nil {
			return err
		}
		return beside.write()
	})
}
