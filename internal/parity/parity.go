// Package parity reproduces QLoRA and LoRA steps that PyTorch, PEFT and bitsandbytes computed: frozen weights to the
// bit, logits, losses, gradient norms, gradients and the trained adapter within stated allowances. A case is a
// folder; no case is known by name.
package parity

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"time"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// Result of a case: what was used of each allowance, the losses, and the adapter's bytes at the end.
type Result struct {
	Uses    []Use
	Losses  []float64
	Adapter string // SHA-256 over the trained adapter
}

// Options of a run.
type Options struct {
	MaxSteps int           // of the case's steps; 0: all, and then the adapter is compared at the end too
	Tune     time.Duration // to measure variants before the steps; 0: those that the device's table has, or the rules
	Log      func(string)
	Plan     *paging.Plan // where everything lies; nil: on the device
	Chunk    int          // tokens of a chunk; 0: as in training
}

// Run runs the case on a device.
func Run(ctx context.Context, dev *gpu.Device, files Files, source *pretrained.Model, o Options) (*Result, error) {
	c, err := Read(files)
	if err != nil {
		return nil, err
	}
	m, err := model.Load(ctx, dev, source, model.LoadOptions{Format: c.formats(source), Plan: o.Plan})
	if err != nil {
		return nil, err
	}
	defer m.Release()
	configData, err := readAll(files, "init_adapter/"+lora.ConfigFile)
	if err != nil {
		return nil, err
	}
	weights, err := files.Open("init_adapter/" + lora.WeightsFile)
	if err != nil {
		return nil, err
	}
	initial, err := lora.Read("init_adapter", configData, weights, weights.Size())
	weights.Close()
	if err != nil {
		return nil, err
	}
	adapter, err := lora.Attach(dev, m.Linears(), initial.Config, optim.Options{Paged: o.Plan != nil && o.Plan.PagedState})
	if err != nil {
		return nil, err
	}
	defer adapter.Detach()
	if err := adapter.SetTensors(initial.Tensors, initial.Path); err != nil {
		return nil, err
	}
	e, err := engine.New(dev, m, adapter, o.Plan, 0)
	if err != nil {
		return nil, err
	}
	defer e.Release()
	if o.Chunk > 0 {
		e.ChunkTokens = o.Chunk
	}
	r := &runner{ctx: ctx, c: c, files: files, engine: e, adapter: adapter, Options: o}
	return r.run(initial.Tensors)
}

type runner struct {
	Options
	ctx     context.Context
	c       Case
	files   Files
	engine  *engine.Engine
	adapter *lora.Adapter
}

func (r *runner) run(initial []lora.Tensor) (*Result, error) {
	longest := 0
	for step := range r.c.Steps {
		for _, in := range r.c.window(step) {
			longest = max(longest, len(in.IDs))
		}
	}
	if err := r.engine.ReserveTraining(longest); err != nil {
		return nil, err
	}
	if r.Tune > 0 {
		if err := kernels.Tune(r.ctx, r.engine.Device, kernels.Tuning{Deadline: time.Now().Add(r.Tune), Report: r.Log}); err != nil {
			return nil, err
		}
	}
	result := &Result{}
	for _, check := range []func() (Use, error){r.logits, r.gradients} {
		use, err := check()
		if err != nil {
			return nil, err
		}
		r.Log(use.String())
		result.Uses = append(result.Uses, use)
	}
	loss, norm := Use{Name: "loss", Allowance: r.allowed().loss}, Use{Name: "gradient norm", Allowance: r.allowed().gradNorm}
	steps := len(r.c.Steps)
	if r.MaxSteps > 0 {
		steps = min(steps, r.MaxSteps)
	}
	micro := uint64(0)
	for step := range steps {
		window := r.c.window(step)
		got, err := r.engine.Step(r.ctx, window, micro, optim.Settings{
			AdamW: kernels.AdamW{LearningRate: r.c.LearningRate, Beta1: r.c.Betas[0], Beta2: r.c.Betas[1], Epsilon: r.c.Eps,
				WeightDecay: r.c.WeightDecay, Step: step + 1},
			MaxGradNorm: r.c.MaxGradNorm,
		})
		if err != nil {
			return nil, err
		}
		micro += uint64(len(window))
		result.Losses = append(result.Losses, got.Loss())
		where := fmt.Sprintf("step %d", step+1)
		loss.note(math.Abs(got.Loss()/r.c.Loss[step]-1), where)
		norm.note(math.Abs(got.GradNorm/r.c.GradNorm[step]-1), where)
		r.Log(fmt.Sprintf("step %d of %d: loss %.6f, PyTorch's %.6f", step+1, steps, got.Loss(), r.c.Loss[step]))
	}
	result.Uses = append(result.Uses, loss, norm)
	r.Log(loss.String())
	r.Log(norm.String())
	trained, err := r.adapter.Tensors(r.ctx, r.adapter.State.Param)
	if err != nil {
		return nil, err
	}
	sum := sha256.New()
	for _, t := range trained {
		sum.Write(gpu.Float32Bytes(t.Values))
	}
	result.Adapter = hex.EncodeToString(sum.Sum(nil))
	if steps == len(r.c.Steps) {
		use, err := r.trained(initial, trained)
		if err != nil {
			return nil, err
		}
		r.Log(use.String())
		result.Uses = append(result.Uses, use)
	}
	return result, nil
}

// logits compares the first micro-batch's first positions, each as the last token of its prefix.
func (r *runner) logits() (Use, error) {
	use := Use{Name: "logits of step 1", Allowance: r.allowed().logits}
	tensors, err := readTensors(r.files, "logits_step1.safetensors")
	if err != nil {
		return use, err
	}
	want := tensors["logits"]
	vocab := r.engine.Model.Shape().Vocab
	ids := r.c.Steps[0][0].InputIDs
	g, err := r.engine.NewGenerator(len(ids) + 1)
	if err != nil {
		return use, err
	}
	defer g.Release()
	var got []float32
	for i := range len(want) / vocab {
		row, err := g.Logits(r.ctx, ids[:i+1])
		if err != nil {
			return use, err
		}
		got = append(got, row...)
	}
	use.note(nmse(got, want, nil), fmt.Sprintf("%d positions", len(want)/vocab))
	return use, nil
}

func (r *runner) gradients() (Use, error) {
	use := Use{Name: "gradients of step 1", Allowance: r.allowed().gradient}
	want, err := readTensors(r.files, "grads_step1.safetensors")
	if err != nil {
		return use, err
	}
	got, err := r.engine.Gradients(r.ctx, r.c.window(0))
	if err != nil {
		return use, err
	}
	return use, compare(&use, got, want, nil)
}

func (r *runner) trained(initial, trained []lora.Tensor) (Use, error) {
	use := Use{Name: "adapter's change", Allowance: r.allowed().adapter}
	want, err := readTensors(r.files, "adapter_after.safetensors")
	if err != nil {
		return use, err
	}
	before := map[string][]float32{}
	for _, t := range initial {
		before[t.Name] = t.Values
	}
	return use, compare(&use, trained, want, before)
}
