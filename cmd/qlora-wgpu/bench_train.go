package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"
	"time"

	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/paging"
	"qlora-wgpu/trainer"
)

type benchTrainCommand struct {
	Model                 string        `name:"model" help:"Base model: a GGUF file or a Hugging Face folder." placeholder:"PATH"`
	Arch                  string        `name:"arch" help:"Instead of a model, the shape of a common one (llama-3.1-8b) with --random-weights." placeholder:"NAME"`
	RandomWeights         bool          `name:"random-weights" help:"With --arch: fill the shape with random weights."`
	Layers                int           `name:"layers" help:"With --arch: only so many layers, and an extrapolation to all of them; 0: all."`
	MaxSeqLength          int           `name:"max-seq-length" default:"128" help:"Tokens of the one sequence of a step."`
	Steps                 int           `name:"steps" default:"5" help:"Steps to time after the first, which compiles."`
	Seconds               time.Duration `name:"seconds" default:"1s" help:"Time for the product that the steps are compared with."`
	LoraR                 int           `name:"lora-r" default:"16" help:"Rank of the LoRA matrices, on all linears."`
	BlockSize             int           `name:"block-size" default:"64" help:"Weights per NF4 block."`
	GradientCheckpointing string        `name:"gradient-checkpointing" type:"checkpointing" negatable:"" default:"full" help:"Recompute activations in the backward pass: full, selective or off."`
	ActivationDType       string        `name:"activation-dtype" default:"f32" help:"How what is kept for the backward pass is stored: f32 or bf16."`
	VRAMBudget            string        `name:"vram-budget" help:"Device memory that the steps may take (6GiB); what does not fit is paged from the host." placeholder:"SIZE"`
	Device                string        `name:"device" help:"Adapter by index or by part of its name (see the devices command)." placeholder:"NAME"`
	Autotune              string        `name:"autotune" default:"on" enum:"on,off,force" help:"Choose kernel variants by measuring: on (cached), off (by rule) or force (measure again)."`
	JSON                  bool          `name:"json" help:"Print one object of JSON."`
}

// Help says how flops are counted.
func (b *benchTrainCommand) Help() string {
	return "Counted flops of a step of T tokens: " + trainer.FlopsFormula + ". Elementwise work and what a kernel computes twice are left out. " +
		"The share of the GEMM's speed compares the fastest step with the NF4 product of 512 tokens by a weight of 2048 × 2048, measured in the same call; on a CPU device by the CPU time of all cores, which other work on the machine disturbs less."
}

// source checks that one of the two is named.
func (b *benchTrainCommand) source() error {
	fail := func(format string, args ...any) *usererr.Error { return usererr.New("bench", "", format, args...) }
	switch {
	case (b.Model == "") == (b.Arch == ""):
		return fail("one of --model, and --arch with --random-weights, is wanted")
	case b.Model != "" && (b.RandomWeights || b.Layers != 0):
		return fail("--random-weights and --layers are for --arch")
	case b.Model != "":
		return nil
	case !b.RandomWeights:
		return fail("--arch is only for --random-weights").Hinted("to time a real model, give --model")
	}
	_, _, err := archShape(b.Arch)
	return err
}

// Run prints the result on stdout and all else on stderr.
func (b *benchTrainCommand) Run(c *console) error {
	if err := b.source(); err != nil {
		return err
	}
	r, err := trainer.BenchTrain(c.context, trainer.BenchOptions{
		Model: b.Model, Arch: b.Arch, Layers: b.Layers, Device: b.Device, Tokens: b.MaxSeqLength, Steps: b.Steps, LoraR: b.LoraR, BlockSize: b.BlockSize,
		GradientCheckpointing: b.GradientCheckpointing, ActivationDType: b.ActivationDType, VRAMBudget: b.VRAMBudget, Autotune: b.Autotune, Limit: b.Seconds,
	}, c.logEvent)
	if err != nil {
		return err
	}
	if b.JSON {
		return json.NewEncoder(c.stdout).Encode(r)
	}
	fmt.Fprintf(c.stdout, "%s, driver %s, qlora-wgpu %s\n", r.Device, r.Driver, r.Version)
	fmt.Fprintf(c.stdout, "%s, %d layers: %.1f tokens/s, %.3f s a step of %d tokens (median of %d; %.2f CPU seconds; the first took %.1f s), last loss %.4f\n",
		r.Model, r.Layers, r.TokensPerSecond, r.SecondsPerStep, r.Tokens, r.Steps, r.CPUSeconds, r.FirstStepSeconds, r.Loss)
	fmt.Fprintf(c.stdout, "device memory at most %s, resident memory of the process at most %s\n", paging.Size(r.PeakDeviceBytes), paging.Size(r.PeakResidentKiB<<10))
	fmt.Fprintf(c.stdout, "%.3f GFLOP a token, counted as --help says; fastest step %.1f GFLOP/s, by CPU time of %d cores %s; GEMM %.1f, %s\n",
		float64(r.Flops)/float64(r.Tokens)/1e9, r.Least.GFLOPS, r.Cores, byCPU(r.Least), r.GEMM.GFLOPS, byCPU(r.GEMM))
	fmt.Fprintln(c.stdout, ratioLine(r.Share))
	if e := r.Extrapolated; e != nil {
		fmt.Fprintf(c.stdout, "EXTRAPOLATED from %d to all %d layers by counted flops: %.1f tokens/s, %.3f s a step; planned device memory %s\n",
			r.Layers, e.Layers, e.TokensPerSecond, e.SecondsPerStep, paging.Size(e.PlannedBytes))
	}
	fmt.Fprintln(c.stdout)
	var total float64
	for _, k := range r.Kernels {
		total += k.Time.Seconds()
	}
	timed := "each dispatch waited for"
	if r.Timestamps {
		timed = "timed by the device"
	}
	w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "share\tms\tdispatches\tGFLOP/s\t  kernel (%s; flops as it computes them)\t\n", timed)
	for _, k := range r.Kernels {
		fmt.Fprintf(w, "%.1f %%\t%.1f\t%d\t%.1f\t  %s\t\n", 100*k.Time.Seconds()/total, 1e3*k.Time.Seconds(), k.Dispatches, float64(k.Cost)/k.Time.Seconds()/1e9, k.Kernel)
	}
	return w.Flush()
}
