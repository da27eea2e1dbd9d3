//go:build !js

package trainer

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/lora"
)

// BenchOptions are the settings of a benchmark of whole optimizer steps.
type BenchOptions struct {
	Model                 string // a file or folder; or
	Arch                  string // a common shape, with random weights,
	Layers                int    // of so many layers; 0: all
	Device                string
	Tokens                int // of the one sequence of a step, all of them targets
	Steps                 int
	LoraR, BlockSize      int
	GradientCheckpointing string
	ActivationDType       string
	VRAMBudget            string
	Autotune              string
	Limit                 time.Duration // for the product that the steps are compared with
}

// BenchResult is what it measured. Medians and leasts are over the steps after the first, which compiles.
type BenchResult struct {
	Device           string           `json:"device"`
	Driver           string           `json:"driver"`
	Version          string           `json:"version"` // of this program
	Cores            int              `json:"cores"`
	Model            string           `json:"model"`
	Layers           int              `json:"layers"`
	Tokens           int              `json:"tokens"`
	Steps            int              `json:"steps"`
	Loss             float64          `json:"loss"`             // of the last step
	SecondsPerStep   float64          `json:"seconds_per_step"` // the median
	TokensPerSecond  float64          `json:"tokens_per_second"`
	CPUSeconds       float64          `json:"cpu_seconds_per_step"` // of this process, which includes the arithmetic on a CPU device
	Flops            int64            `json:"flops_per_step"`
	FlopsFormula     string           `json:"flops_formula"`
	Least            Speed            `json:"least"` // the least that a step took
	GEMM             Speed            `json:"gemm"`  // of an NF4 product, forward: 512 tokens by a square linear of Llama-3.2-1B
	Share            Ratio            `json:"share_of_gemm"`
	PeakDeviceBytes  int64            `json:"peak_device_bytes"`
	PeakResidentKiB  int64            `json:"peak_resident_kib"` // of this process
	FirstStepSeconds float64          `json:"first_step_seconds"`
	Kernels          []gpu.KernelTime `json:"kernels"`    // of one step more, every dispatch timed
	Timestamps       bool             `json:"timestamps"` // by the device, else by waiting for each
	// Extrapolated is set where only some layers of a shape were measured.
	Extrapolated *Extrapolation `json:"extrapolated,omitempty"`
}

// Extrapolation is what all layers would take if every flop took as long as in those that were measured.
type Extrapolation struct {
	Layers          int     `json:"layers"`
	Flops           int64   `json:"flops_per_step"`
	SecondsPerStep  float64 `json:"seconds_per_step"`
	TokensPerSecond float64 `json:"tokens_per_second"`
	PlannedBytes    int64   `json:"planned_device_bytes"` // if everything is resident: by a dry recording, not measured
}

// stepGoal is the share of the GEMM's speed that a whole step should reach.
const stepGoal = 0.6

// open is the model, and the number of layers that its shape has.
func (o BenchOptions) open() (source *pretrained.Model, layers int, err error) {
	if o.Arch == "" {
		if source, err = pretrained.Open(o.Model); err == nil {
			layers = len(source.Spec.Layers)
		}
		return source, layers, err
	}
	shape, _ := pretrained.Shape(o.Arch)
	source, err = RandomModel(o.Arch, o.Layers)
	return source, len(shape.Layers), err
}

// BenchTrain measures optimizer steps on random tokens, and a product to compare them with.
func BenchTrain(ctx context.Context, o BenchOptions, emit func(Event)) (*BenchResult, error) {
	c := Defaults()
	c.LoraR, c.LoraAlpha, c.BlockSize, c.VRAMBudget, c.Autotune = o.LoraR, float64(o.LoraR), o.BlockSize, o.VRAMBudget, o.Autotune
	c.GradientCheckpointing, c.ActivationDType = o.GradientCheckpointing, o.ActivationDType
	for _, err := range []error{
		within("lora_r", o.LoraR, 1, 65536), blockSize("block_size", o.BlockSize), within("steps", o.Steps, 1, 100000), within("layers", o.Layers, 0, 1000),
		oneOf("autotune", o.Autotune, "on", "off", "force"), validActivationDType(o.ActivationDType),
		oneOf("gradient_checkpointing", o.GradientCheckpointing, CheckpointFull, CheckpointSelective, CheckpointOff),
	} {
		if err != nil {
			return nil, err
		}
	}
	source, layers, err := o.open()
	if err != nil {
		return nil, err
	}
	defer source.Close()
	if longest := source.Spec.MaxPositions; o.Tokens < 2 || o.Tokens > longest {
		return nil, wrong("max_seq_length", fmt.Sprint(o.Tokens), fmt.Sprintf("between 2 and the model's %d", longest))
	}
	dev, err := gpu.Open(ctx, gpu.Options{Adapter: o.Device, SubmitScale: submitScale()})
	if err != nil {
		return nil, err
	}
	defer dev.Release()
	emit(Event{Kind: "info", Message: "Device: " + describeDevice(dev.Info)})
	name := o.Model
	if o.Arch != "" {
		name = o.Arch + ", random weights"
	}
	r := &BenchResult{
		Device: describeDevice(dev.Info), Driver: dev.Info.Driver, Version: programVersion(), Cores: runtime.GOMAXPROCS(0), Model: name,
		Layers: len(source.Spec.Layers), Tokens: o.Tokens, Steps: o.Steps, FlopsFormula: FlopsFormula,
	}
	// Before the steps and after them: a machine that slowed down meanwhile must not flatter the steps.
	if err := r.product(ctx, dev, o.Limit); err != nil {
		return nil, err
	}
	steps, err := Synthetic(ctx, dev, SyntheticOptions{
		Model: source, Name: name, Tokens: o.Tokens, Answer: o.Tokens, MicroBatches: 1, Steps: o.Steps + 1, Config: c, HostMemory: hostMemory, Cache: measurementCache(""), CPU: cpuSeconds, Profile: true,
	}, emit)
	if err != nil {
		return nil, err
	}
	r.take(dev, steps)
	if err := r.product(ctx, dev, o.Limit); err != nil {
		return nil, err
	}
	if r.Share.Missing == "" {
		r.Share.Value = r.Least.best() / r.GEMM.best()
	}
	if layers > r.Layers {
		if err := r.extrapolate(dev, o, c, layers); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// take fills in what the steps took.
func (r *BenchResult) take(dev *gpu.Device, steps *SyntheticResult) {
	r.FirstStepSeconds, r.SecondsPerStep, r.CPUSeconds = steps.Steps[0].Seconds, steps.Median(), median(steps.CPU[1:])
	r.Loss = steps.Steps[len(steps.Steps)-1].Loss
	r.TokensPerSecond, r.Flops = float64(r.Tokens)/r.SecondsPerStep, steps.Flops
	r.Kernels, r.Timestamps = steps.Profile.Kernels, steps.Profile.Timestamps
	least := kernels.Took{Seconds: math.Inf(1), CPUSeconds: slices.Min(steps.CPU[1:])}
	for _, s := range steps.Steps[1:] {
		least.Seconds = min(least.Seconds, s.Seconds)
	}
	r.Least = speedOf(dev, r.Flops, least)
	r.PeakDeviceBytes, r.PeakResidentKiB = dev.PeakBytes(), peakResidentKiB()
}

// product measures the product that steps are compared with, and keeps it if it is the fastest so far.
func (r *BenchResult) product(ctx context.Context, dev *gpu.Device, limit time.Duration) error {
	r.Share.Name, r.Share.Goal = "a whole step : NF4 GEMM of 512 tokens, 2048 × 2048", stepGoal
	cell := kernels.Cell{Op: kernels.BenchNF4Forward, T: 512, N: 2048, K: 2048}
	took, _, err := kernels.Meter{Device: dev, CPU: cpuSeconds, Limit: limit}.Measure(ctx, cell, "")
	var big kernels.TooBig
	var full *gpu.OutOfMemory
	if errors.As(err, &big) || errors.As(err, &full) {
		r.Share.Missing = fmt.Sprintf("%s: %v", cell, err)
		return nil
	}
	if err != nil {
		return err
	}
	if speed := speedOf(dev, cell.Flops(), took); speed.best() > r.GEMM.best() {
		r.GEMM = speed
	}
	return nil
}

// extrapolate tells of all layers of the shape.
func (r *BenchResult) extrapolate(dev *gpu.Device, o BenchOptions, c Config, layers int) error {
	shape, _ := pretrained.Shape(o.Arch)
	d := demand{shape: shape, blockSize: c.BlockSize, adapter: c.adapter(), tokens: o.Tokens, microBatches: 1, start: c.decisions()}
	plan, err := d.plan(dev, 0)
	if err != nil {
		return err
	}
	twin := dev.Twin()
	m, err := model.New(shape, twin, c.BlockSize, nil)
	if err != nil {
		return err
	}
	if _, err := lora.Attach(twin, m.Linears(), c.adapter(), optim.Options{}); err != nil {
		return err
	}
	e := &Extrapolation{Layers: layers, Flops: stepFlops(shape, m.Linears(), c.LoraR, o.Tokens, o.Tokens, plan.Activations), PlannedBytes: plan.Peak}
	e.SecondsPerStep = r.SecondsPerStep * float64(e.Flops) / float64(r.Flops)
	e.TokensPerSecond = float64(r.Tokens) / e.SecondsPerStep
	r.Extrapolated = e
	return nil
}
