package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/trainer"
)

type benchPagingCommand struct {
	Model  string `name:"model" help:"A GGUF file or a Hugging Face folder." placeholder:"PATH"`
	Arch   string `name:"arch" help:"Instead of a model, the shape of a common one (smollm2-135m), with random weights." placeholder:"NAME"`
	Layers int    `name:"layers" help:"With --arch: only so many layers; 0: all."`
	Tokens int    `name:"tokens" default:"128" help:"Tokens of a micro-batch."`
	Steps  int    `name:"steps" default:"4" help:"Steps of each run; the first, which compiles, does not count."`
	LoraR  int    `name:"lora-r" default:"16" help:"Rank of the LoRA matrices."`
	Device string `name:"device" help:"Adapter by index or by part of its name." placeholder:"NAME"`
	JSON   bool   `name:"json" help:"Print a JSON object."`
}

// Run measures both runs on the same device.
func (b *benchPagingCommand) Run(c *console) error {
	if b.Tokens < 2 || b.Tokens > 1<<20 || b.Steps < 2 || b.Steps > 1000 || b.Layers < 0 {
		return usererr.New("bench", "", "%d tokens, %d steps, %d layers; allowed: 2 to 1048576 tokens, 2 to 1000 steps, layers from 0", b.Tokens, b.Steps, b.Layers)
	}
	model, name, err := b.open()
	if err != nil {
		return err
	}
	defer model.Close()
	dev, err := gpu.Open(c.context, gpu.Options{Adapter: b.Device})
	if err != nil {
		return err
	}
	defer dev.Release()
	config := trainer.Defaults()
	config.LoraR, config.Autotune = b.LoraR, "off"
	r, err := trainer.BenchPaging(c.context, dev, trainer.SyntheticOptions{
		Model: model, Name: name, Tokens: b.Tokens, MicroBatches: 1, Steps: b.Steps, Config: config,
	}, func(e trainer.Event) {
		if s, ok := e.(trainer.StepStats); ok {
			fmt.Fprintf(c.stderr, "step %d: %.2f s, %d page-ins, %.0f ms stalled\n", s.Step, s.Seconds, s.PageIns, s.StallMS)
		}
	})
	if err != nil {
		return err
	}
	if b.Model != "" {
		if r.Start, err = trainer.BenchStart(c.context, dev, b.Model, config.BlockSize, c.logEvent); err != nil {
			return err
		}
	}
	if b.JSON {
		encoder := json.NewEncoder(c.stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	same := "the same losses and adapter, to the byte"
	if !r.SameBytes {
		same = "OTHER losses or another adapter"
	}
	fmt.Fprintf(c.stdout, "%s, %s, %d of %d layers streamed, %d tokens\n", r.Device, r.Model, r.StreamedLayers, r.Layers, r.Tokens)
	fmt.Fprintf(c.stdout, "resident  %.2f s a step, peak %.1f MiB\n", r.ResidentSeconds, float64(r.ResidentPeak)/(1<<20))
	fmt.Fprintf(c.stdout, "streamed  %.2f s a step, peak %.1f MiB, %d page-ins, %.0f ms stalled: %.2f times the resident one\n", r.StreamedSeconds, float64(r.StreamedPeak)/(1<<20), r.PageIns, r.StallMS, r.Ratio)
	fmt.Fprintf(c.stdout, "plan      %.2f to %.2f s: %.1f MiB a step at a measured %.1f GB/s\n", r.EstimateLow, r.EstimateHigh, float64(r.Moved)/(1<<20), r.Bandwidth)
	if s := r.Staged; s != nil {
		fmt.Fprintf(c.stdout, "staged    %.2f s a step, peak %.1f MiB, %.0f ms stalled, %.1f GB/s: the same through staging buffers, which this device does without\n", s.Seconds, float64(s.Peak)/(1<<20), s.StallMS, s.Bandwidth)
	}
	fmt.Fprintln(c.stdout, "all have", same)
	if r.Start != nil {
		fmt.Fprintf(c.stdout, "start     %.2f s quantizing, %.2f s from the cache: %.2f times the first\n", r.Start.FirstSeconds, r.Start.SecondSeconds, r.Start.Ratio)
	}
	return nil
}

func (b *benchPagingCommand) open() (*pretrained.Model, string, error) {
	switch {
	case (b.Model == "") == (b.Arch == ""):
		return nil, "", usererr.New("bench", "", "one of --model and --arch is wanted").Hinted("--arch knows %s", strings.Join(pretrained.ShapeNames(), ", "))
	case b.Model != "":
		model, err := pretrained.Open(b.Model)
		return model, b.Model, err
	}
	if _, _, err := archShape(b.Arch); err != nil {
		return nil, "", err
	}
	model, err := trainer.RandomModel(b.Arch, b.Layers)
	return model, b.Arch, err
}
