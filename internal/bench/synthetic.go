package bench

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"time"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// Synthetic describes steps over random tokens, for measuring memory and speed: micro-batches of one sequence.
type Synthetic struct {
	Model      *pretrained.Model // of random weights, or a real one
	Name       string
	Settings   settings.Train // adapter, optimizer, budget; Tokens of a micro-batch are batch_size × max_seq_length
	Answer     int            // so many of the tokens, the last ones, are targets; 0: as many as of a common long sample
	Steps      int
	HostMemory func() (total, available int64)
	// Staged moves pages through staging buffers, even where slots can be mapped.
	Staged bool
	// Decisions, where set, replaces what follows from budget and settings.
	Decisions *paging.Decisions
	Cache     engine.Cache   // of what was measured on the device; nil: none
	CPU       func() float64 // what this process used of the CPU so far, in seconds; nil: nobody wants to know
	Profile   bool           // take one step more, whose dispatches are timed one by one
}

// SyntheticResult is what the steps took.
type SyntheticResult struct {
	Plan    *paging.Plan
	Steps   []events.Step
	CPU     []float64 // seconds of each step, of all cores
	Profile gpu.Profile
	Flops   int64  // of a step, see stepFlops
	Adapter string // SHA-256 over the trained adapter
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

// Run trains the steps on the device.
func (o Synthetic) Run(ctx context.Context, dev *gpu.Device, emit func(events.Event)) (*SyntheticResult, error) {
	if err := engine.CheckQuantization(o.Model.Spec, o.Settings.Quantization); err != nil {
		return nil, err
	}
	budget, err := o.Settings.Budget.Bytes()
	if err != nil {
		return nil, err
	}
	session, err := engine.Open(ctx, engine.Options{
		Model: o.Name, Autotune: o.Settings.Autotune, Budget: budget, Cache: o.Cache, HostMemory: o.HostMemory, Opened: dev,
	}, o.Model, emit)
	if err != nil {
		return nil, err
	}
	defer session.Release()
	d := engine.TrainingDemand(o.Model.Spec, o.Settings)
	d.Staged = o.Staged
	if o.Decisions != nil {
		d.Start, d.Auto = *o.Decisions, false
	}
	c := o.Settings
	e, err := session.Prepare(ctx, d, engine.Trainable{Seed: c.Seed, Fill: func(a *lora.Adapter) error { return a.Init(c.Seed) }})
	if err != nil {
		return nil, err
	}
	answer := o.Answer
	if answer == 0 {
		answer = answerTokens(d.Tokens)
	}
	result := &SyntheticResult{
		Plan:  e.Plan(),
		Flops: int64(d.MicroBatches) * StepFlops(o.Model.Spec, e.Model.Linears(), c.LoraR, d.Tokens, answer, e.Plan().Activations),
	}
	s := steps{o, e, d, answer, rand.New(rand.NewPCG(c.Seed, 2))}
	for step := range o.Steps {
		used := 0.0
		if o.CPU != nil {
			used = o.CPU()
		}
		stats, err := s.take(ctx, step)
		if err != nil {
			return nil, err
		}
		if o.CPU != nil {
			result.CPU = append(result.CPU, o.CPU()-used)
		}
		result.Steps = append(result.Steps, stats)
		emit(stats)
	}
	if o.Profile {
		if err := dev.StartProfile(); err != nil {
			return nil, err
		}
		_, failure := s.take(ctx, o.Steps)
		if result.Profile, err = dev.StopProfile(ctx); failure != nil || err != nil {
			return nil, cmp.Or(failure, err)
		}
	}
	trained, err := e.Adapter.Tensors(ctx, e.Adapter.State.Param)
	if err != nil {
		return nil, e.ReadError(ctx, err)
	}
	sum := sha256.New()
	for _, t := range trained {
		sum.Write(gpu.Float32Bytes(t.Values))
	}
	result.Adapter = hex.EncodeToString(sum.Sum(nil))
	return result, nil
}

// steps are a synthetic run's.
type steps struct {
	Synthetic
	engine *engine.Engine
	demand engine.Demand
	answer int
	rng    *rand.Rand
}

// window is random tokens.
func (s steps) window() []model.Input {
	window := make([]model.Input, s.demand.MicroBatches)
	vocab := s.Model.Spec.Vocab
	for i := range window {
		window[i] = engine.Worst(s.demand.Tokens)
		for t := range s.demand.Tokens {
			window[i].IDs[t], window[i].Targets[t] = uint32(s.rng.IntN(vocab)), int32(s.rng.IntN(vocab))
			if t < s.demand.Tokens-s.answer {
				window[i].Targets[t] = -100
			}
		}
	}
	return window
}

func (s steps) take(ctx context.Context, step int) (events.Step, error) {
	window, c := s.window(), s.Settings
	start := time.Now()
	got, err := s.engine.Step(ctx, window, uint64(step*s.demand.MicroBatches), optim.Settings{MaxGradNorm: c.MaxGradNorm, AdamW: kernels.AdamW{
		LearningRate: c.LearningRate, Beta1: c.AdamBeta1, Beta2: c.AdamBeta2, Epsilon: c.AdamEpsilon, WeightDecay: c.WeightDecay, Step: step + 1,
	}})
	if err != nil {
		return events.Step{}, err
	}
	dev := s.engine.Device
	stats := events.Step{
		Step: step + 1, MaxSteps: s.Steps, Loss: got.Loss(), GradNorm: got.GradNorm, LearningRate: c.LearningRate,
		TargetTokens: int64(got.Targets), DeviceBytes: dev.Bytes(), PeakDeviceBytes: dev.PeakBytes(),
		PageIns: got.Paging.PageIns, PageOuts: got.Paging.PageOuts, StallMS: float64(got.Paging.Stall.Microseconds()) / 1e3,
		Skipped: got.Skipped, BadTensor: got.BadTensor, Seconds: time.Since(start).Seconds(),
	}
	stats.TokensPerSecond = events.PerSecond(int64(got.Targets), stats.Seconds)
	return stats, nil
}

// answerTokens are the last of a synthetic sample, the ones that are targets: an eighth, and at least 64. What stands
// before them is a prompt, as in the data that long contexts are trained on.
func answerTokens(tokens int) int { return max(tokens/8, min(tokens, 64)) }

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}
