// Package parity reproduces QLoRA and LoRA steps that PyTorch, PEFT and bitsandbytes computed: frozen weights to the
// bit, logits, losses, gradient norms, gradients and the trained adapter within stated allowances. A case is a
// folder; no case is known by name.
package parity

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"

	"qlora-wgpu/doublequant"
	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/frozen"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/lora"
	"qlora-wgpu/nf4"
	"qlora-wgpu/paging"
)

// Files opens the files of a case's folder.
type Files interface {
	Open(name string) (pretrained.File, error)
}

// Case is case.json.
type Case struct {
	Rank         int       `json:"rank"`
	Alpha        float64   `json:"lora_alpha"`
	LearningRate float64   `json:"learning_rate"`
	Betas        []float64 `json:"betas"`
	Eps          float64   `json:"eps"`
	WeightDecay  float64   `json:"weight_decay"`
	MaxGradNorm  float64   `json:"max_grad_norm"`
	Steps        [][]struct {
		InputIDs []uint32 `json:"input_ids"`
		Labels   []int32  `json:"labels"`
	} `json:"steps"`
	Loss      []float64 `json:"loss"`
	GradNorm  []float64 `json:"grad_norm_before_clip"`
	Quantized map[string]struct {
		Shape        []int   `json:"shape"`
		Packed       string  `json:"packed"`
		Absmax       string  `json:"absmax"`
		NestedAbsmax string  `json:"nested_absmax"`
		Offset       float64 `json:"offset"`
		Dequantized  string  `json:"dequantized"`
	} `json:"quantized"`
	// Quantization is "none" where the base is not quantized. Frozen has the SHA-256 of the bytes of each linear's
	// weight then.
	Quantization string            `json:"quantization"`
	Frozen       map[string]string `json:"frozen"`
}

// format is that of the case's linears.
func (c Case) format() frozen.Format {
	if c.Quantization == "none" {
		return frozen.BFloat16{}
	}
	return frozen.NF4(blockSize)
}

// blockSize of the cases.
const blockSize = 64

// allowances are how far a case may be from PyTorch.
type allowances struct {
	logits         float64 // NMSE; the forward pass is the same however activations are kept
	loss, gradNorm float64 // relative
	gradient       float64 // NMSE of each tensor of step 1
	adapter        float64 // NMSE of each tensor's change
}

var (
	// From the error of PyTorch's own float32 against float64 with room for another order of summation.
	exact = allowances{logits: 1e-9, loss: 5e-5, gradNorm: 2e-4, gradient: 1e-6, adapter: 3e-4}
	// In a model of few layers that error is 2.3e-7, 1.7e-6, 1e-11, 1e-12 and 1e-10 at most, as the cases' README has it,
	// and so is ours.
	shallow = allowances{logits: 1e-10, loss: 2e-6, gradNorm: 2e-5, gradient: 1e-9, adapter: 1e-7}
	// A bf16 has 8 bits: a kept activation is off by 2⁻⁹ at most and 1.1e-3 in the mean square, which is an NMSE of
	// 1.3e-6. A gradient takes in about ten such roundings, and the backward of softmax subtracts numbers near one
	// another: 1e-5 to 3e-5 came out on the first case, whose attention is flat, and up to 1.7e-4 where scores are larger
	// and keys have biases of 5; three times that is allowed. AdamW makes steps of one size of small gradients and large
	// ones, so later steps go other ways where a gradient is mostly rounding: losses differed by up to 1e-3, norms by
	// 1.2e-2, changes by 2.4e-3; that has room for a factor of two to three.
	rounded = allowances{logits: 1e-9, loss: 3e-3, gradNorm: 4e-2, gradient: 5e-4, adapter: 6e-3}
)

// shallowLinears is how many linears a model of few layers has at most.
const shallowLinears = 32

func (r *runner) allowed() allowances {
	switch {
	case r.Plan != nil && r.Plan.Rounded():
		return rounded
	case len(r.c.Quantized)+len(r.c.Frozen) <= shallowLinears:
		return shallow
	}
	return exact
}

// Use is how much of an allowance was used at most, and where.
type Use struct {
	Name      string  `json:"name"`
	Allowance float64 `json:"allowance"`
	Error     float64 `json:"error"`
	Where     string  `json:"where"`
}

// Used is the share of the allowance; above 1 the case failed.
func (u Use) Used() float64 { return u.Error / u.Allowance }

func (u Use) String() string {
	return fmt.Sprintf("%-20s %8.2g of %.0e: %5.1f %% used (%s)", u.Name, u.Error, u.Allowance, 100*u.Used(), u.Where)
}

func (u *Use) note(err float64, where string) {
	if math.IsNaN(err) {
		err = math.Inf(1)
	}
	if err >= u.Error {
		u.Error, u.Where = err, where
	}
}

// Result of a case: what was used of each allowance, the losses, and the adapter's bytes at the end.
type Result struct {
	Uses    []Use
	Losses  []float64
	Adapter string // SHA-256 over the trained adapter
}

// Read reads case.json.
func Read(files Files) (c Case, err error) {
	data, err := readAll(files, "case.json")
	if err == nil {
		err = json.Unmarshal(data, &c)
	}
	return c, err
}

func readAll(files Files, name string) ([]byte, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data := make([]byte, f.Size())
	_, err = io.ReadFull(io.NewSectionReader(f, 0, f.Size()), data)
	return data, err
}

func readTensors(files Files, name string) (map[string][]float32, error) {
	f, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	file, err := safetensors.Read(f, f.Size(), name)
	if err != nil {
		return nil, err
	}
	out := map[string][]float32{}
	for _, t := range file.Tensors() {
		values := make([]float32, t.Elements())
		if err := file.ReadFloat32(t, values, 0); err != nil {
			return nil, err
		}
		out[t.Name] = values
	}
	return out, nil
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// CheckFrozen compares the fingerprints of every frozen weight exactly.
func (c Case) CheckFrozen(source *pretrained.Model) error {
	if len(c.Quantized)+len(c.Frozen) == 0 {
		return fmt.Errorf("the case names no frozen tensor")
	}
	for name, want := range c.Frozen {
		t, _ := source.Lookup(name)
		values := make([]float32, t.Rows*t.Cols)
		if err := source.ReadRows(name, 0, t.Rows, values); err != nil {
			return err
		}
		layout := paging.NewLayout(c.format(), gpu.ShardBytes)
		layout.AddLinear(name, t.Rows, t.Cols, false)
		parts := layout.NewParts()
		layout.Writer(parts, name).Rows(0, values)
		if got := hash(parts[0][:gpu.BF16.Size(len(values))]); got != want {
			return fmt.Errorf("%s: its bytes differ: %s, want %s", name, got, want)
		}
	}
	for name, want := range c.Quantized {
		n := want.Shape[0] * want.Shape[1]
		values := make([]float32, n)
		if err := source.ReadRows(name, 0, want.Shape[0], values); err != nil {
			return err
		}
		packed, absmax := make([]byte, nf4.PackedLen(n)), make([]float32, nf4.Blocks(n, blockSize))
		nf4.QuantizeParallel(values, blockSize, packed, absmax)
		state := doublequant.Quantize(absmax)
		state.Dequantize(absmax)
		nf4.Dequantize(packed, absmax, blockSize, values)
		got := []string{
			hash(packed), hash(state.Codes), hash(gpu.Float32Bytes(state.Nested)), fmt.Sprint(float64(state.Offset)), hash(gpu.Float32Bytes(values)),
		}
		for i, w := range []string{want.Packed, want.Absmax, want.NestedAbsmax, fmt.Sprint(want.Offset), want.Dequantized} {
			if got[i] != w {
				return fmt.Errorf("%s: %s differs: %s, want %s", name,
					[]string{"packed", "absmax", "nested_absmax", "offset", "dequantized"}[i], got[i], w)
			}
		}
	}
	return nil
}

func (c Case) window(step int) (window []model.Input) {
	for _, micro := range c.Steps[step] {
		in := model.Input{IDs: micro.InputIDs}
		for i := range micro.InputIDs {
			in.Positions, in.FirstKey = append(in.Positions, uint32(i)), append(in.FirstKey, 0)
			target := int32(-100)
			if i+1 < len(micro.Labels) {
				target = micro.Labels[i+1]
			}
			in.Targets = append(in.Targets, target)
		}
		window = append(window, in)
	}
	return window
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
	m, err := model.Load(ctx, dev, source, model.LoadOptions{Format: c.format(), Plan: o.Plan})
	if err != nil {
		return nil, err
	}
	defer m.Release()
	configData, err := readAll(files, "init_adapter/"+lora.ConfigFile)
	if err != nil {
		return nil, err
	}
	config, err := lora.ReadConfig(configData, lora.ConfigFile)
	if err != nil {
		return nil, err
	}
	adapter, err := lora.Attach(dev, m.Linears(), config, optim.Options{Paged: o.Plan != nil && o.Plan.PagedState})
	if err != nil {
		return nil, err
	}
	defer adapter.Detach()
	weights, err := files.Open("init_adapter/" + lora.WeightsFile)
	if err != nil {
		return nil, err
	}
	initial, err := lora.ReadWeights(weights, weights.Size(), lora.WeightsFile)
	weights.Close()
	if err != nil {
		return nil, err
	}
	if err := adapter.SetTensors(initial, lora.WeightsFile); err != nil {
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
	return r.run(initial)
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
		row, err := g.Logits(r.ctx, ids[i:i+1], i == 0)
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

// compare notes the NMSE of every tensor that is wanted, of its difference from before where that is given.
func compare(use *Use, got []lora.Tensor, want, before map[string][]float32) error {
	compared := 0
	for _, t := range got {
		w, ok := want[t.Name]
		if !ok {
			continue
		}
		use.note(nmse(t.Values, w, before[t.Name]), t.Name)
		compared++
	}
	if compared != len(want) || compared == 0 {
		return fmt.Errorf("%s: %d of %d tensors compared", use.Name, compared, len(want))
	}
	return nil
}

func nmse(got, want, before []float32) float64 {
	var diff, norm float64
	for i, w := range want {
		base := 0.0
		if before != nil {
			base = float64(before[i])
		}
		d := float64(got[i]) - float64(w)
		diff += d * d
		norm += (float64(w) - base) * (float64(w) - base)
	}
	return diff / norm
}
