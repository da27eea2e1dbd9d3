package engine

import (
	"errors"
	"fmt"
	"math"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/frozen"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// Demand is what is asked of a device: to train, or without that to evaluate, to answer, or both.
type Demand struct {
	Shape   spec.Spec
	Format  frozen.Formats // of the linears' weights
	Adapter lora.Config    // rank 0: the base model alone

	Tokens        int // of the largest micro-batch; 0: nothing trains
	TypicalTokens int // of an average one, whose kernels are measured first; 0: unknown
	EvalTokens    int // of the longest evaluation sequence; 0: none
	AnswerTokens  int // of a prompt with its answer, where nothing trains; 0: none

	// BaseAnswers: the base model answers beside the adapter, with keys and values of its own.
	BaseAnswers bool

	MicroBatches int  // of a step
	EightBit     bool // moments
	Start        paging.Decisions
	Auto         bool // how much is recomputed follows from the budget, not from Start
	Staged       bool // pages go through staging buffers, even where slots can be mapped
}

func (d Demand) trains() bool { return d.Tokens > 0 }

// worthMeasuring tells whether the kernels run for long enough; a single answer is sooner there without.
func (d Demand) worthMeasuring() bool { return d.trains() || d.EvalTokens > 0 }

// gathered is how many tokens' rows of an embedding pass at once.
func (d Demand) gathered() int {
	if d.trains() {
		return d.Tokens
	}
	return max(d.EvalTokens, min(d.AnswerTokens, prefillChunk))
}

// Check refuses a model that no kernel can run, with a *usererr.Error.
func (d Demand) Check(dev *gpu.Device) error {
	_, err := model.New(d.Shape, dev.Twin(), d.Format, nil)
	return err
}

// streamed makes the model's shape on a dry twin with every page going through a ring, so that every access is noted,
// and tells its pages and the ring's bytes.
func (d Demand) streamed(twin *gpu.Device) (m *model.Model, r *paging.Recording, ring int64, err error) {
	const slots = 16
	all := &paging.Plan{StreamedLayers: make([]bool, len(d.Shape.Layers)), Slots: slots, SlotBytes: twin.Limits.MaxBindingBytes}
	all.StreamedHead, all.HostEmbedding = math.MaxInt, true
	for i := range all.StreamedLayers {
		all.StreamedLayers[i] = true
	}
	r = &paging.Recording{
		Tied: d.Shape.TiedHead, MicroBatches: d.MicroBatches, TensorLimit: twin.Limits.MaxTensorBytes(), Mappable: twin.Mappable && !d.Staged,
	}
	largest, err := d.largestPart(twin)
	if err != nil {
		return nil, nil, 0, err
	}
	r.TablePageBytes, all.TablePageBytes = largest, largest
	if m, err = model.New(d.Shape, twin, d.Format, all); err != nil {
		return nil, nil, 0, err
	}
	r.Pages = m.Store().Shapes()
	for _, page := range r.Pages {
		r.SlotBytes = max(r.SlotBytes, page.Bytes)
	}
	if row := gpu.BF16.Size(d.Shape.Hidden); !r.Tied {
		r.Embedding = row * int64((d.Shape.Vocab+3)/4*4)
	}
	r.Gather = gpu.F32.Size(d.gathered() * d.Shape.Hidden)
	return m, r, slots * all.SlotBytes, nil
}

// record runs a training step on a dry twin of the device, and tells what it needs.
func (d Demand) record(dev *gpu.Device) (*paging.Recording, []gpu.KernelSpec, error) {
	twin := dev.Twin()
	m, r, ring, err := d.streamed(twin)
	if err != nil {
		return nil, nil, err
	}
	var fixed int64
	var named []gpu.KernelSpec
	adapter, err := lora.Attach(twin, m.Linears(), d.Adapter, optim.Options{EightBit: d.EightBit, Paged: true})
	if err != nil {
		return nil, nil, err
	}
	r.Adapter, r.Moments = adapter.State.Bytes()
	r.StateTensors = adapter.State.BlockBytes()
	for _, activations := range d.recorded() {
		e, err := New(twin, m, adapter, &paging.Plan{Decisions: paging.Decisions{Activations: activations, Kept: d.Start.Kept}}, 0)
		if err != nil {
			return nil, nil, err
		}
		if err := e.planTraining(d.Tokens); err != nil {
			return nil, nil, err
		}
		if d.EvalTokens > 0 {
			if err := e.planEvaluation(d.EvalTokens); err != nil {
				return nil, nil, err
			}
		}
		shape := paging.ArenaShape{Activations: activations, Buffers: e.arena.BufferSizes()}
		if activations == paging.Offload {
			shape.Host = int64(len(d.Shape.Layers)) * d.Start.Kept.Size(d.Tokens*d.Shape.Hidden)
			shape.Moved = 2 * shape.Host
		}
		r.Arenas = append(r.Arenas, shape)
		named = append(named, e.named...)
		fixed = twin.Bytes()
		e.Release()
	}
	r.Schedule = paging.NewSchedule(m.Store().Accesses(programTrain))
	r.Together = r.Schedule.Together()
	r.Fixed = []paging.Row{{Name: "tables, statistics, scratch", Where: "resident", Device: fixed - ring - r.Adapter}}
	return r, named, nil
}

// largestPart is the bytes of the largest part of a layer.
func (d Demand) largestPart(dev *gpu.Device) (largest int64, err error) {
	m, err := model.New(d.Shape.WithLayers(1), dev.Twin(), d.Format, nil)
	if err != nil {
		return 0, err
	}
	for _, page := range m.Store().Shapes() {
		if page.Layer == 0 {
			largest = max(largest, page.Bytes)
		}
	}
	return largest, nil
}

// Plan makes the plan for a budget in bytes, 0 for none. Errors are *usererr.Error: a tensor that no binding holds, a
// budget that is too small.
func (d Demand) Plan(dev *gpu.Device, budget int64) (*paging.Plan, error) {
	if !d.trains() {
		return d.planInference(dev, budget)
	}
	if d.Auto {
		return d.planAuto(dev, budget)
	}
	r, _, err := d.record(dev)
	if err != nil {
		return nil, err
	}
	p, err := paging.NewPlan(r, budget, d.Start)
	var small *paging.TooSmall
	if errors.As(err, &small) {
		return nil, usererr.New("plan memory", "", "%w", err).Hinted("%s", d.wayOut(dev, small))
	}
	return p, err
}

// wayOut names the least budget, and the smallest cut of a setting, by halves, that fits the one that was given.
func (d Demand) wayOut(dev *gpu.Device, small *paging.TooSmall) string {
	hint := "give --vram-budget at least " + paging.Size(small.Minimum+1<<19)
	for _, setting := range []struct {
		format string
		value  func(d *Demand) *int
		least  int
	}{
		{"or lower max_seq_length × batch_size from %d to %d tokens", func(d *Demand) *int { return &d.Tokens }, 2},
		{"or lora_r from %d to %d", func(d *Demand) *int { return &d.Adapter.Rank }, 1},
	} {
		changed := d
		value := setting.value(&changed)
		from := *value
		for *value /= 2; *value >= setting.least; *value /= 2 {
			changed.EvalTokens = min(changed.EvalTokens, changed.Tokens)
			if fits, err := changed.Fits(dev, small.Budget); err == nil && fits {
				hint += ", " + fmt.Sprintf(setting.format, from, *value)
				break
			}
		}
	}
	changed := d
	changed.Format = frozen.NF4(settings.Default[settings.Quantization]().BlockSize)
	if d.Format == frozen.BFloat16 {
		if fits, err := changed.Fits(dev, small.Budget); err == nil && fits {
			hint += ", or set quantization to nf4"
		}
	}
	changed = d
	changed.Start.Activations = paging.Recompute
	if d.Start.Rounded() && d.Start.Activations != paging.Recompute {
		if fits, err := changed.Fits(dev, small.Budget); err == nil && fits {
			hint += ", or set gradient_checkpointing to full"
		}
	}
	return hint
}

// Fits tells whether the budget holds the run with everything on the host that can be there.
func (d Demand) Fits(dev *gpu.Device, budget int64) (bool, error) {
	d.Start.PagedState, d.Auto = true, false
	if lighter := d.Start.Lighter(); len(lighter) > 0 {
		d.Start.Activations = lighter[len(lighter)-1]
	}
	least, err := d.Estimate(dev, func(p *paging.Plan) int64 { return p.Minimum })
	var mistake *usererr.Error
	if errors.As(err, &mistake) { // a tensor exceeds what can be bound, or a rank a matrix
		return false, nil
	}
	const margin = 64 << 10 // of the estimate
	return err == nil && least+margin <= budget, err
}
