package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"qlora-wgpu/trainer"
)

type benchTrainCommand struct {
	Model                 string `name:"model" required:"" help:"Base model: a GGUF file or a Hugging Face folder." placeholder:"PATH"`
	MaxSeqLength          int    `name:"max-seq-length" default:"128" help:"Tokens of the one sequence of a step."`
	Steps                 int    `name:"steps" default:"5" help:"Steps to time after the first, which compiles."`
	LoraR                 int    `name:"lora-r" default:"16" help:"Rank of the LoRA matrices, on all linears."`
	BlockSize             int    `name:"block-size" default:"64" help:"Weights per NF4 block."`
	GradientCheckpointing string `name:"gradient-checkpointing" type:"checkpointing" negatable:"" default:"full" help:"Recompute activations in the backward pass: full, selective or off."`
	ActivationDType       string `name:"activation-dtype" default:"f32" help:"How what is kept for the backward pass is stored: f32 or bf16."`
	Device                string `name:"device" help:"Adapter by index or by part of its name (see the devices command)." placeholder:"NAME"`
	Autotune              string `name:"autotune" default:"on" enum:"on,off,force" help:"Choose kernel variants by measuring: on (cached), off or force (measure again)."`
	JSON                  bool   `name:"json" help:"Print one object of JSON."`
}

// Run prints the result on stdout and all else on stderr.
func (b *benchTrainCommand) Run(c *console) error {
	r, err := trainer.BenchTrain(c.context, trainer.BenchOptions{
		Model: b.Model, Device: b.Device, Tokens: b.MaxSeqLength, Steps: max(1, b.Steps), LoraR: b.LoraR, BlockSize: b.BlockSize,
		GradientCheckpointing: b.GradientCheckpointing, ActivationDType: b.ActivationDType, Autotune: b.Autotune,
	}, c.logEvent)
	if err != nil {
		return err
	}
	if b.JSON {
		return json.NewEncoder(c.stdout).Encode(r)
	}
	fmt.Fprintf(c.stdout, "%s: %.1f tokens/s, %.3f s a step of %d tokens (median of %d; %.2f CPU seconds; the first took %.1f s)\n",
		r.Device, r.TokensPerSecond, r.SecondsPerStep, r.Tokens, r.Steps, r.CPUSeconds, r.FirstStepSeconds)
	fmt.Fprintf(c.stdout, "%.3f GFLOP a token, %.1f GFLOP/s; device memory at most %.1f MiB, resident memory of the process at most %.1f MiB\n",
		r.GFLOPPerToken, r.GFLOPPerToken*r.TokensPerSecond, float64(r.PeakDeviceBytes)/(1<<20), float64(r.PeakResidentKiB)/1024)
	var total float64
	for _, k := range r.Kernels {
		total += k.Time.Seconds()
	}
	w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "share\tms\tdispatches\tGFLOP/s\t  kernel (each dispatch waited for)\t")
	for _, k := range r.Kernels {
		fmt.Fprintf(w, "%.1f %%\t%.1f\t%d\t%.1f\t  %s\t\n", 100*k.Time.Seconds()/total, 1e3*k.Time.Seconds(), k.Dispatches, float64(k.Cost)/k.Time.Seconds()/1e9, k.Kernel)
	}
	return w.Flush()
}
