//go:build !js

package trainer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// BenchOptions are the settings of a benchmark of whole optimizer steps.
type BenchOptions struct {
	Model, Device         string
	Tokens                int // of the one sequence of a step, all of them targets but the last
	Steps                 int
	LoraR, BlockSize      int
	GradientCheckpointing string
	ActivationDType       string
	Autotune              string
}

// BenchResult is what it measured: medians over the steps after the first, which compiles.
type BenchResult struct {
	Device           string           `json:"device"`
	Tokens           int              `json:"tokens"`
	Steps            int              `json:"steps"`
	SecondsPerStep   float64          `json:"seconds_per_step"`
	TokensPerSecond  float64          `json:"tokens_per_second"`
	CPUSeconds       float64          `json:"cpu_seconds_per_step"` // of this process, which includes the arithmetic on a CPU device
	GFLOPPerToken    float64          `json:"gflop_per_token"`      // as the kernels' wrappers count
	PeakDeviceBytes  int64            `json:"peak_device_bytes"`
	PeakResidentKiB  int64            `json:"peak_resident_kib"` // of this process
	FirstStepSeconds float64          `json:"first_step_seconds"`
	Kernels          []gpu.KernelTime `json:"kernels"` // of one step more, every dispatch waited for
}

// BenchTrain measures optimizer steps on random tokens.
func BenchTrain(ctx context.Context, o BenchOptions, emit func(Event)) (*BenchResult, error) {
	for _, err := range []error{
		oneOf("gradient_checkpointing", o.GradientCheckpointing, CheckpointFull, CheckpointSelective, CheckpointOff), validActivationDType(o.ActivationDType),
	} {
		if err != nil {
			return nil, err
		}
	}
	source, err := pretrained.Open(o.Model)
	if err != nil {
		return nil, err
	}
	defer source.Close()
	s, err := openSession(ctx, sessionOptions{Model: o.Model, Device: o.Device, Autotune: o.Autotune, BlockSize: o.BlockSize}, source, measurementCache(""), emit)
	if err != nil {
		return nil, err
	}
	defer s.release()
	if err := s.check(ctx); err != nil {
		return nil, err
	}
	if err := s.load(ctx, nil); err != nil {
		return nil, err
	}
	adapter, err := lora.Attach(s.dev, s.model.Linears(), lora.Config{Rank: o.LoraR, Alpha: float64(o.LoraR), Targets: []string{"all-linear"}}, optim.Options{})
	if err != nil {
		return nil, err
	}
	defer adapter.Detach()
	if err := adapter.Init(1); err != nil {
		return nil, err
	}
	plan := &paging.Plan{Decisions: Config{GradientCheckpointing: o.GradientCheckpointing, ActivationDType: o.ActivationDType}.decisions()}
	engine, err := NewEngine(s.dev, s.model, adapter, plan, 1)
	if err != nil {
		return nil, err
	}
	defer engine.Release()
	if o.Tokens < 2 || o.Tokens > s.model.Shape().MaxPositions {
		return nil, wrong("max_seq_length", fmt.Sprint(o.Tokens), fmt.Sprintf("between 2 and the model's %d", s.model.Shape().MaxPositions))
	}
	if err := engine.ReserveTraining(o.Tokens); err != nil {
		return nil, err
	}
	if err := s.tune(ctx); err != nil {
		return nil, err
	}
	b := &bench{engine: engine, window: []model.Input{randomInput(o.Tokens, s.model.Shape().Vocab)}}
	first, _, err := b.step(ctx)
	if err != nil {
		return nil, err
	}
	var wall, cpu []float64
	for range o.Steps {
		w, c, err := b.step(ctx)
		if err != nil {
			return nil, err
		}
		wall, cpu = append(wall, w), append(cpu, c)
	}
	s.dev.StartProfile()
	_, _, err = b.step(ctx)
	kernels := s.dev.StopProfile()
	if err != nil {
		return nil, err
	}
	var flops int64
	for _, k := range kernels {
		flops += k.Cost
	}
	r := &BenchResult{
		Device: describeDevice(s.dev.Info), Tokens: o.Tokens, Steps: o.Steps, FirstStepSeconds: first,
		SecondsPerStep: median(wall), CPUSeconds: median(cpu), GFLOPPerToken: float64(flops) / float64(o.Tokens) / 1e9,
		PeakDeviceBytes: s.dev.PeakBytes(), PeakResidentKiB: peakResidentKiB(), Kernels: kernels,
	}
	r.TokensPerSecond = float64(o.Tokens) / r.SecondsPerStep
	return r, nil
}

type bench struct {
	engine *Engine
	window []model.Input
	steps  int
}

// step runs one optimizer step and returns its seconds, by the clock and of the CPU.
func (b *bench) step(ctx context.Context) (wall, cpu float64, err error) {
	b.steps++
	settings := optim.Settings{MaxGradNorm: 1}
	settings.LearningRate, settings.Beta1, settings.Beta2, settings.Epsilon, settings.Step = 1e-4, 0.9, 0.999, 1e-8, b.steps
	start, used := time.Now(), cpuSeconds()
	_, err = b.engine.Step(ctx, b.window, 0, settings)
	return time.Since(start).Seconds(), cpuSeconds() - used, err
}

// randomInput is one sequence whose every token predicts the next.
func randomInput(tokens, vocab int) model.Input {
	random := rand.New(rand.NewPCG(1, 2))
	in := worst(tokens)
	for i := range in.IDs {
		in.IDs[i] = uint32(random.IntN(vocab))
	}
	for i := range in.Targets {
		in.Targets[i] = -100
		if i+1 < tokens {
			in.Targets[i] = int32(in.IDs[i+1])
		}
	}
	return in
}
