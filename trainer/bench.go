package trainer

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/paging"
)

// SyntheticOptions describe steps over random tokens, for measuring memory and speed.
type SyntheticOptions struct {
	Model        *pretrained.Model // of random weights, or a real one
	Name         string
	Tokens       int // of a micro-batch, one sequence
	MicroBatches int // of a step
	Steps        int
	Config       Config // adapter, optimizer, budget, device
	HostMemory   func() (total, available int64)
	// Decisions, where set, replaces what follows from budget and settings.
	Decisions *paging.Decisions
}

// SyntheticResult is what the steps took.
type SyntheticResult struct {
	Plan  *paging.Plan
	Steps []StepStats
}

// Median is the median of a step's seconds; the first step, which compiles, does not count where there are others.
func (r *SyntheticResult) Median() float64 {
	var seconds []float64
	for i, s := range r.Steps {
		if i > 0 || len(r.Steps) == 1 {
			seconds = append(seconds, s.Seconds)
		}
	}
	return median(seconds)
}

// Synthetic runs training steps over random tokens on the device.
func Synthetic(ctx context.Context, dev *gpu.Device, o SyntheticOptions, emit func(Event)) (*SyntheticResult, error) {
	c := o.Config
	s := &session{dev: dev, source: o.Model, options: sessionOptions{Model: o.Name, Autotune: c.Autotune, BlockSize: c.BlockSize}, emit: emit}
	r := &run{config: c, session: s}
	budget, err := r.budget(Inputs{HostMemory: o.HostMemory})
	if err != nil {
		return nil, err
	}
	d := demand{shape: o.Model.Config, blockSize: c.BlockSize, adapter: c.adapter(), tokens: o.Tokens, microBatches: o.MicroBatches, eightBit: c.eightBit(), start: c.decisions()}
	if o.Decisions != nil {
		d.start = *o.Decisions
	}
	if r.plan, err = d.plan(dev, budget); err != nil {
		return nil, err
	}
	if err := enoughHost(Inputs{HostMemory: o.HostMemory}, r.plan); err != nil {
		return nil, err
	}
	emit(Event{Kind: "plan", Message: describePlan(r.plan), Memory: r.plan})
	dev.ReleaseScratch()
	dev.ResetPeak()
	defer r.releaseMemory()
	if err := r.takeMemory(ctx, nil, o.Tokens, 0); err != nil {
		return nil, err
	}
	result := &SyntheticResult{Plan: r.plan}
	rng := rand.New(rand.NewPCG(c.Seed, 2))
	for step := range o.Steps {
		window := make([]model.Input, o.MicroBatches)
		for i := range window {
			window[i] = worst(o.Tokens)
			for t := range o.Tokens {
				window[i].IDs[t], window[i].Targets[t] = uint32(rng.IntN(o.Model.Config.VocabSize)), int32(rng.IntN(o.Model.Config.VocabSize))
			}
		}
		start := time.Now()
		got, err := r.engine.Step(ctx, window, uint64(step*o.MicroBatches), optim.Settings{MaxGradNorm: c.MaxGradNorm, AdamW: kernels.AdamW{
			LearningRate: c.LearningRate, Beta1: c.AdamBeta1, Beta2: c.AdamBeta2, Epsilon: c.AdamEpsilon, WeightDecay: c.WeightDecay, Step: step + 1,
		}})
		if err != nil {
			return nil, err
		}
		stats := StepStats{
			Step: step + 1, MaxSteps: o.Steps, Loss: got.Loss(), GradNorm: got.GradNorm, LearningRate: c.LearningRate, TargetTokens: int64(got.Targets),
			DeviceBytes: dev.Bytes(), PeakDeviceBytes: dev.PeakBytes(), PageIns: got.Paging.PageIns, PageOuts: got.Paging.PageOuts,
			StallMS: float64(got.Paging.Stall.Microseconds()) / 1e3, Skipped: got.Skipped, BadTensor: got.BadTensor, Seconds: time.Since(start).Seconds(),
		}
		stats.TokensPerSecond = float64(got.Targets) / stats.Seconds
		result.Steps = append(result.Steps, stats)
		emit(Event{Kind: "step", Step: &stats})
	}
	return result, nil
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
