package main

import (
	"fmt"
	"strconv"

	"qlora-wgpu/internal/convert"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/settings"
)

type quantizeCommand struct {
	Settings settings.Quantize `embed:""`
}

// Help says what is written.
func (q *quantizeCommand) Help() string {
	return "Writes a Hugging Face folder in bitsandbytes' NF4, which transformers loads where bitsandbytes is, and this program without " +
		"quantizing again: codes and absmax are those of bitsandbytes' CUDA kernels, to the byte. With --format gguf a GGUF file, which " +
		"llama.cpp reads."
}

// Run quantizes and prints the folder.
func (q *quantizeCommand) Run(c *console) error {
	s := q.Settings
	if err := s.Check(); err != nil {
		return err
	}
	weights, err := openWeights(c, s.Model, settings.Default[settings.Added]())
	if err != nil {
		return err
	}
	defer weights.Close()
	if s.Format == settings.FormatGGUF {
		return printed(c, s.Output, writeGGUF(c, weights, s.Model, s.Output, s.Type))
	}
	to := spec.Quantized{BlockSize: s.BlockSize, Double: s.DoubleQuant}
	absmax := "float32 absmax"
	if to.Double {
		absmax = "double quantization"
	}
	card := fmt.Appendf(nil, "---\nlibrary_name: transformers\nbase_model: %s\nbase_model_relation: quantized\n---\n\n# Quantized model\n\n"+
		"Linears in 4-bit NormalFloat, blocks of %d, %s, by qlora-wgpu.\n",
		strconv.Quote(baseName(weights, s.Model)), to.BlockSize, absmax)
	return printed(c, s.Output, writeFolder(c, weights, s.Written, convert.Options{NF4: &to, Card: card}))
}
