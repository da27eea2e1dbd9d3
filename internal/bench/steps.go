//go:build !js

package bench

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"time"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/internal/version"
	"qlora-wgpu/lora"
)

// StepsResult is what it measured. Medians and leasts are over the steps after the first, which compiles.
type StepsResult struct {
	Device          string  `json:"device"`
	Driver          string  `json:"driver"`
	Version         string  `json:"version"` // of this program
	Cores           int     `json:"cores"`
	Model           string  `json:"model"`
	Layers          int     `json:"layers"`
	Tokens          int     `json:"tokens"`
	Steps           int     `json:"steps"`
	Loss            float64 `json:"loss"`             // of the last step
	SecondsPerStep  float64 `json:"seconds_per_step"` // the median
	TokensPerSecond float64 `json:"tokens_per_second"`
	// of this process, which includes the arithmetic on a CPU device
	CPUSeconds   float64 `json:"cpu_seconds_per_step"`
	Flops        int64   `json:"flops_per_step"`
	FlopsFormula string  `json:"flops_formula"`
	Least        Speed   `json:"least"` // the least that a step took
	// of an NF4 product, forward: 512 tokens by a square linear of Llama-3.2-1B
	GEMM             Speed            `json:"gemm"`
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
func open(ctx context.Context, o settings.BenchTrain, emit func(events.Event)) (source *pretrained.Model, layers int, err error) {
	if o.Arch == "" {
		if source, err = host.OpenModel(ctx, o.Model, emit); err == nil {
			layers = len(source.Spec.Layers)
		}
		return source, layers, err
	}
	shape, _ := pretrained.Shape(o.Arch)
	source, err = RandomModel(o.Shape)
	return source, len(shape.Layers), err
}

// RandomModel is a common model's shape with random weights.
func RandomModel(c settings.Shape) (*pretrained.Model, error) {
	shape, known := pretrained.Shape(c.Arch)
	if !known {
		return nil, usererr.New("settings", "", "there is no architecture %q", c.Arch).Of(usererr.Unsupported).
			Hinted("known are %s", strings.Join(pretrained.ShapeNames(), ", "))
	}
	if c.Layers > 0 {
		shape = shape.WithLayers(min(c.Layers, len(shape.Layers)))
	}
	return pretrained.Random(c.Arch, shape), nil
}

func deviceOptions(c settings.Hardware) engine.Options {
	return engine.Options{Device: c.Device, SubmitScale: host.SubmitScale(), Cache: host.MeasurementsIn(c.CacheDir)}
}

// TrainShape trains a shape with random weights over random tokens; nothing is written.
func TrainShape(ctx context.Context, shape settings.Shape, c settings.Train, emit func(events.Event)) (*SyntheticResult, error) {
	m, err := RandomModel(shape)
	if err != nil {
		return nil, err
	}
	dev, err := engine.OpenDevice(ctx, deviceOptions(c.Hardware), emit)
	if err != nil {
		return nil, err
	}
	defer dev.Release()
	o := Synthetic{Model: m, Name: shape.Arch, Settings: c, Steps: c.MaxSteps, HostMemory: host.Memory, Cache: host.MeasurementsIn(c.CacheDir)}
	return o.Run(ctx, dev, emit)
}

// Steps measures optimizer steps on random tokens, and a product to compare them with.
func Steps(ctx context.Context, o settings.BenchTrain, emit func(events.Event)) (*StepsResult, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	source, layers, err := open(ctx, o, emit)
	if err != nil {
		return nil, err
	}
	defer source.Close()
	if longest := source.Spec.MaxPositions; o.Tokens < 2 || o.Tokens > longest {
		return nil, settings.Wrong("tokens", fmt.Sprint(o.Tokens), fmt.Sprintf("between 2 and the model's %d", longest))
	}
	dev, err := engine.OpenDevice(ctx, deviceOptions(o.Hardware), emit)
	if err != nil {
		return nil, err
	}
	defer dev.Release()
	name := o.Model
	if o.Arch != "" {
		name = o.Arch + ", random weights"
	}
	r := &StepsResult{
		Device: dev.Info.String(), Driver: dev.Info.Driver, Version: version.Of().Revision(), Cores: runtime.GOMAXPROCS(0), Model: name,
		Layers: len(source.Spec.Layers), Tokens: o.Tokens, Steps: o.Steps, FlopsFormula: FlopsFormula,
	}
	// Before the steps and after them: a machine that slowed down meanwhile must not flatter the steps.
	if err := r.product(ctx, dev, o.Seconds); err != nil {
		return nil, err
	}
	c := o.Training()
	steps, err := Synthetic{
		Model: source, Name: name, Settings: c, Answer: o.Tokens, Steps: o.Steps + 1, HostMemory: host.Memory,
		Cache: host.MeasurementsIn(o.CacheDir), CPU: host.CPUSeconds, Profile: true,
	}.Run(ctx, dev, emit)
	if err != nil {
		return nil, err
	}
	r.take(dev, steps)
	if err := r.product(ctx, dev, o.Seconds); err != nil {
		return nil, err
	}
	if r.Share.Missing == "" {
		r.Share.Value = r.Least.best() / r.GEMM.best()
	}
	if layers > r.Layers {
		if err := r.extrapolate(dev, o.Arch, c, layers); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// take fills in what the steps took.
func (r *StepsResult) take(dev *gpu.Device, steps *SyntheticResult) {
	r.FirstStepSeconds, r.SecondsPerStep, r.CPUSeconds = steps.Steps[0].Seconds, steps.Median(), median(steps.CPU[1:])
	r.Loss = steps.Steps[len(steps.Steps)-1].Loss
	r.TokensPerSecond, r.Flops = events.PerSecond(int64(r.Tokens), r.SecondsPerStep), steps.Flops
	r.Kernels, r.Timestamps = steps.Profile.Kernels, steps.Profile.Timestamps
	least := kernels.Took{Seconds: math.Inf(1), CPUSeconds: slices.Min(steps.CPU[1:])}
	for _, s := range steps.Steps[1:] {
		least.Seconds = min(least.Seconds, s.Seconds)
	}
	r.Least = speedOf(dev, r.Flops, least)
	r.PeakDeviceBytes, r.PeakResidentKiB = dev.PeakBytes(), host.PeakResidentKiB()
}

// product measures the product that steps are compared with, and keeps it if it is the fastest so far.
func (r *StepsResult) product(ctx context.Context, dev *gpu.Device, limit time.Duration) error {
	r.Share.Name, r.Share.Goal = "a whole step : NF4 GEMM of 512 tokens, 2048 × 2048", stepGoal
	cell := kernels.Cell{Op: kernels.BenchNF4Forward, T: 512, N: 2048, K: 2048}
	took, _, err := kernels.Meter{Device: dev, CPU: host.CPUSeconds, Limit: limit}.Measure(ctx, cell, "")
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
func (r *StepsResult) extrapolate(dev *gpu.Device, arch string, c settings.Train, layers int) error {
	shape, _ := pretrained.Shape(arch)
	d := engine.TrainingDemand(shape, c)
	plan, err := d.Plan(dev, 0)
	if err != nil {
		return err
	}
	twin := dev.Twin()
	m, err := model.New(shape, twin, d.Format, nil)
	if err != nil {
		return err
	}
	if _, err := lora.Attach(twin, m.Linears(), d.Adapter, optim.Options{}); err != nil {
		return err
	}
	e := &Extrapolation{
		Layers: layers, Flops: StepFlops(shape, m.Linears(), c.LoraR, d.Tokens, d.Tokens, plan.Activations), PlannedBytes: plan.Peak,
	}
	e.SecondsPerStep = r.SecondsPerStep * float64(e.Flops) / float64(r.Flops)
	e.TokensPerSecond = events.PerSecond(int64(r.Tokens), e.SecondsPerStep)
	r.Extrapolated = e
	return nil
}
