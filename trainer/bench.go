package trainer

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"strconv"
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
	Answer       int // so many of them, the last ones, are targets; 0: as many as of a common long sample
	MicroBatches int // of a step
	Steps        int
	Config       Config // adapter, optimizer, budget, device
	HostMemory   func() (total, available int64)
	// Staged moves pages through staging buffers, even where slots can be mapped.
	Staged bool
	// Decisions, where set, replaces what follows from budget and settings.
	Decisions *paging.Decisions
	Cache     Cache          // of what was measured on the device; nil: none
	CPU       func() float64 // what this process used of the CPU so far, in seconds; nil: nobody wants to know
	Profile   bool           // take one step more, whose dispatches are timed one by one
}

// SyntheticResult is what the steps took.
type SyntheticResult struct {
	Plan    *paging.Plan
	Steps   []StepStats
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

// Synthetic runs training steps over random tokens on the device.
func Synthetic(ctx context.Context, dev *gpu.Device, o SyntheticOptions, emit func(Event)) (*SyntheticResult, error) {
	c := o.Config
	s := &session{dev: dev, source: o.Model, cache: o.Cache, options: sessionOptions{Model: o.Name, Autotune: c.Autotune, BlockSize: c.BlockSize}, emit: emit}
	s.recall()
	r := &run{config: c, session: s}
	budget, err := r.budget(Inputs{HostMemory: o.HostMemory})
	if err != nil {
		return nil, err
	}
	d := demand{shape: o.Model.Spec, blockSize: c.BlockSize, adapter: c.adapter(), tokens: o.Tokens, microBatches: o.MicroBatches, eightBit: c.eightBit(), start: c.decisions(), staged: o.Staged, auto: c.GradientCheckpointing == CheckpointAuto}
	if o.Decisions != nil {
		d.start, d.auto = *o.Decisions, false
	}
	if _, err := model.New(d.shape, dev.Twin(), d.blockSize, nil); err != nil {
		return nil, s.about(err)
	}
	if r.plan, err = d.plan(dev, budget); err != nil {
		return nil, err
	}
	if err := enoughHost(Inputs{HostMemory: o.HostMemory}, r.plan, dev.Info.SharesHostMemory()); err != nil {
		return nil, err
	}
	emit(Event{Kind: "plan", Message: describePlan(r.plan), Memory: r.plan})
	dev.ReleaseScratch()
	defer r.releaseMemory()
	if err := r.takeMemory(ctx, nil, o.Tokens, 0); err != nil {
		return nil, err
	}
	if err := s.tune(ctx); err != nil {
		return nil, err
	}
	answer := o.Answer
	if answer == 0 {
		answer = answerTokens(o.Tokens)
	}
	result := &SyntheticResult{Plan: r.plan, Flops: int64(o.MicroBatches) * stepFlops(o.Model.Spec, s.model.Linears(), c.LoraR, o.Tokens, answer, r.plan.Activations)}
	rng := rand.New(rand.NewPCG(c.Seed, 2))
	take := func(step int) (StepStats, error) {
		window := make([]model.Input, o.MicroBatches)
		for i := range window {
			window[i] = worst(o.Tokens)
			for t := range o.Tokens {
				window[i].IDs[t], window[i].Targets[t] = uint32(rng.IntN(o.Model.Spec.Vocab)), int32(rng.IntN(o.Model.Spec.Vocab))
				if t < o.Tokens-answer {
					window[i].Targets[t] = -100
				}
			}
		}
		start, used := time.Now(), 0.0
		if o.CPU != nil {
			used = o.CPU()
		}
		got, err := r.engine.Step(ctx, window, uint64(step*o.MicroBatches), optim.Settings{MaxGradNorm: c.MaxGradNorm, AdamW: kernels.AdamW{
			LearningRate: c.LearningRate, Beta1: c.AdamBeta1, Beta2: c.AdamBeta2, Epsilon: c.AdamEpsilon, WeightDecay: c.WeightDecay, Step: step + 1,
		}})
		if err != nil {
			return StepStats{}, err
		}
		stats := StepStats{
			Step: step + 1, MaxSteps: o.Steps, Loss: got.Loss(), GradNorm: got.GradNorm, LearningRate: c.LearningRate, TargetTokens: int64(got.Targets),
			DeviceBytes: dev.Bytes(), PeakDeviceBytes: dev.PeakBytes(), PageIns: got.Paging.PageIns, PageOuts: got.Paging.PageOuts,
			StallMS: float64(got.Paging.Stall.Microseconds()) / 1e3, Skipped: got.Skipped, BadTensor: got.BadTensor, Seconds: time.Since(start).Seconds(),
		}
		if o.CPU != nil {
			result.CPU = append(result.CPU, o.CPU()-used)
		}
		stats.TokensPerSecond = float64(got.Targets) / stats.Seconds
		return stats, nil
	}
	for step := range o.Steps {
		stats, err := take(step)
		if err != nil {
			return nil, err
		}
		result.Steps = append(result.Steps, stats)
		emit(Event{Kind: "step", Step: &stats})
	}
	if o.Profile {
		if err := dev.StartProfile(); err != nil {
			return nil, err
		}
		_, failure := take(o.Steps)
		if result.Profile, err = dev.StopProfile(ctx); failure != nil || err != nil {
			return nil, cmp.Or(failure, err)
		}
		result.CPU = result.CPU[:min(len(result.CPU), o.Steps)]
	}
	trained, err := r.adapter.Tensors(ctx, r.adapter.State.Param)
	if err != nil {
		return nil, r.engine.readError(ctx, err)
	}
	sum := sha256.New()
	for _, t := range trained {
		sum.Write(gpu.Float32Bytes(t.Values))
	}
	result.Adapter = hex.EncodeToString(sum.Sum(nil))
	return result, nil
}

// answerTokens are the last of a synthetic sample, the ones that are targets: an eighth, and at least 64. What stands before them is a prompt, as in the data that
// long contexts are trained on.
func answerTokens(tokens int) int { return max(tokens/8, min(tokens, 64)) }

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// StartResult compares loading a model for the first time, which quantizes it, with the second, from the cache.
type StartResult struct {
	FirstSeconds  float64 `json:"first_seconds"`
	SecondSeconds float64 `json:"second_seconds"`
	Ratio         float64 `json:"ratio"`
}

// PagingResult compares a run with half of the layers streamed with a resident one on the same device.
type PagingResult struct {
	Device          string  `json:"device"`
	Model           string  `json:"model"`
	Layers          int     `json:"layers"`
	StreamedLayers  int     `json:"streamed_layers"`
	Tokens          int     `json:"tokens"`
	ResidentSeconds float64 `json:"resident_seconds_per_step"`
	StreamedSeconds float64 `json:"streamed_seconds_per_step"`
	Ratio           float64 `json:"ratio"`
	StallMS         float64 `json:"stall_ms_per_step"`
	PageIns         int     `json:"page_ins_per_step"`
	Moved           int64   `json:"bytes_moved_per_step"` // by the plan
	Bandwidth       float64 `json:"bandwidth_gb_per_s"`   // measured, when nothing is computed
	// EstimateLow and EstimateHigh are the plan's seconds: the longer of computing and moving, if all overlaps, and their sum, if nothing does.
	EstimateLow  float64 `json:"estimate_low_seconds"`
	EstimateHigh float64 `json:"estimate_high_seconds"`
	ResidentPeak int64   `json:"resident_peak_bytes"`
	StreamedPeak int64   `json:"streamed_peak_bytes"`
	SameBytes    bool    `json:"same_bytes"` // of adapter and losses

	Staged *StagedResult `json:"staged,omitempty"` // where the host maps slots: the same through staging buffers

	Start *StartResult `json:"start,omitempty"` // of a model that is a file
}

// StagedResult is a streamed run through staging buffers on a device that does without them.
type StagedResult struct {
	Seconds   float64 `json:"seconds_per_step"`
	StallMS   float64 `json:"stall_ms_per_step"`
	Bandwidth float64 `json:"bandwidth_gb_per_s"`
	Peak      int64   `json:"peak_bytes"`
}

// BenchPaging runs the steps twice on the device, resident and with half of the layers streamed.
func BenchPaging(ctx context.Context, dev *gpu.Device, o SyntheticOptions, emit func(Event)) (*PagingResult, error) {
	layers := len(o.Model.Spec.Layers)
	if layers < 6 {
		return nil, wrong("layers", strconv.Itoa(layers), "at least 6: half are streamed, and two slots hold two of them")
	}
	bandwidth, err := paging.Bandwidth(ctx, dev, dev.Mappable)
	if err != nil {
		return nil, err
	}
	o.Decisions = &paging.Decisions{}
	resident, err := Synthetic(ctx, dev, o, emit)
	if err != nil {
		return nil, err
	}
	o.Decisions = &paging.Decisions{Layers: layers / 2}
	streamed, err := Synthetic(ctx, dev, o, emit)
	if err != nil {
		return nil, err
	}
	last := streamed.Steps[len(streamed.Steps)-1]
	r := &PagingResult{
		Device: describeDevice(dev.Info), Model: o.Name, Layers: layers, StreamedLayers: layers / 2, Tokens: o.Tokens, ResidentSeconds: resident.Median(), StreamedSeconds: streamed.Median(),
		StallMS: last.StallMS, PageIns: last.PageIns, Moved: streamed.Plan.Traffic, Bandwidth: bandwidth / 1e9, ResidentPeak: resident.Steps[0].PeakDeviceBytes,
		StreamedPeak: last.PeakDeviceBytes, SameBytes: resident.Adapter == streamed.Adapter,
	}
	for i := range resident.Steps {
		r.SameBytes = r.SameBytes && resident.Steps[i].Loss == streamed.Steps[i].Loss
	}
	if dev.Mappable {
		bandwidth, err := paging.Bandwidth(ctx, dev, false)
		if err != nil {
			return nil, err
		}
		o.Staged = true
		staged, err := Synthetic(ctx, dev, o, emit)
		if err != nil {
			return nil, err
		}
		last := staged.Steps[len(staged.Steps)-1]
		r.SameBytes = r.SameBytes && staged.Adapter == streamed.Adapter
		r.Staged = &StagedResult{Seconds: staged.Median(), StallMS: last.StallMS, Bandwidth: bandwidth / 1e9, Peak: last.PeakDeviceBytes}
	}
	moving := float64(r.Moved) / bandwidth
	r.Ratio, r.EstimateLow, r.EstimateHigh = r.StreamedSeconds/r.ResidentSeconds, max(r.ResidentSeconds, moving), r.ResidentSeconds+moving
	return r, nil
}
