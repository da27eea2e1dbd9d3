package trainer

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// demand is what a run asks of a device's memory.
type demand struct {
	shape        spec.Spec
	blockSize    int
	adapter      lora.Config
	tokens       int  // of the largest micro-batch
	evalTokens   int  // of the longest evaluation sequence; 0: none
	microBatches int  // of a step
	eightBit     bool // moments
	start        paging.Decisions
	auto         bool // how much is recomputed follows from the budget, not from start
	staged       bool // pages go through staging buffers, even where slots can be mapped
}

// streamed makes the model's shape on a dry twin with every page going through a ring, so that every access is noted, and tells its pages and the ring's bytes.
func (d demand) streamed(twin *gpu.Device) (m *model.Model, r *paging.Recording, ring int64, err error) {
	const slots = 16
	all := &paging.Plan{StreamedLayers: make([]bool, len(d.shape.Layers)), Slots: slots, SlotBytes: twin.Limits.MaxBindingBytes}
	all.StreamedHead, all.HostEmbedding = math.MaxInt, true
	for i := range all.StreamedLayers {
		all.StreamedLayers[i] = true
	}
	r = &paging.Recording{Tied: d.shape.TiedHead, MicroBatches: d.microBatches, TensorLimit: twin.Limits.MaxTensorBytes(), Mappable: twin.Mappable && !d.staged}
	largest, err := d.largestPart(twin)
	if err != nil {
		return nil, nil, 0, err
	}
	r.TablePageBytes, all.TablePageBytes = largest, largest
	if m, err = model.New(d.shape, twin, d.blockSize, all); err != nil {
		return nil, nil, 0, err
	}
	r.Pages = m.Store().Shapes()
	for _, page := range r.Pages {
		r.SlotBytes = max(r.SlotBytes, page.Bytes)
	}
	if row := gpu.BF16.Size(d.shape.Hidden); !r.Tied {
		r.Embedding = row * int64((d.shape.Vocab+3)/4*4)
	}
	r.Gather = gpu.F32.Size(d.tokens * d.shape.Hidden)
	return m, r, slots * all.SlotBytes, nil
}

// record runs a training step on a dry twin of the device, and tells what it needs.
func (d demand) record(dev *gpu.Device) (*paging.Recording, []gpu.KernelSpec, error) {
	twin := dev.Twin()
	m, r, ring, err := d.streamed(twin)
	if err != nil {
		return nil, nil, err
	}
	var fixed int64
	var named []gpu.KernelSpec
	adapter, err := lora.Attach(twin, m.Linears(), d.adapter, optim.Options{EightBit: d.eightBit, Paged: true})
	if err != nil {
		return nil, nil, err
	}
	r.Adapter, r.Moments = adapter.State.Bytes()
	r.StateTensors = adapter.State.BlockBytes()
	for _, activations := range d.recorded() {
		e, err := NewEngine(twin, m, adapter, &paging.Plan{Decisions: paging.Decisions{Activations: activations, Kept: d.start.Kept}}, 0)
		if err != nil {
			return nil, nil, err
		}
		if err := e.planTraining(d.tokens); err != nil {
			return nil, nil, err
		}
		if d.evalTokens > 0 {
			if err := e.planEvaluation(d.evalTokens); err != nil {
				return nil, nil, err
			}
		}
		shape := paging.ArenaShape{Activations: activations, Buffers: e.arena.BufferSizes()}
		if activations == paging.Offload {
			shape.Host = int64(len(d.shape.Layers)) * d.start.Kept.Size(d.tokens*d.shape.Hidden)
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
func (d demand) largestPart(dev *gpu.Device) (largest int64, err error) {
	m, err := model.New(d.shape.WithLayers(1), dev.Twin(), d.blockSize, nil)
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

// plan makes the plan for a budget in bytes, 0 for none.
func (d demand) plan(dev *gpu.Device, budget int64) (*paging.Plan, error) {
	if d.auto {
		return d.planAuto(dev, budget)
	}
	r, _, err := d.record(dev)
	if err != nil {
		return nil, err
	}
	p, err := paging.NewPlan(r, budget, d.start)
	var small *paging.TooSmall
	if errors.As(err, &small) {
		return nil, usererr.New("plan memory", "", "%w", err).Hinted("%s", d.wayOut(dev, small))
	}
	return p, err
}

// wayOut names the least budget, and the smallest cut of a setting, by halves, that fits the one that was given.
func (d demand) wayOut(dev *gpu.Device, small *paging.TooSmall) string {
	hint := "give --vram-budget at least " + paging.Size(small.Minimum+1<<19)
	for _, setting := range []struct {
		format string
		value  func(d *demand) *int
		least  int
	}{
		{"or lower max_seq_length × batch_size from %d to %d tokens", func(d *demand) *int { return &d.tokens }, 2},
		{"or lora_r from %d to %d", func(d *demand) *int { return &d.adapter.Rank }, 1},
	} {
		changed := d
		value := setting.value(&changed)
		from := *value
		for *value /= 2; *value >= setting.least; *value /= 2 {
			changed.evalTokens = min(changed.evalTokens, changed.tokens)
			if fits, err := changed.fits(dev, small.Budget); err == nil && fits {
				hint += ", " + fmt.Sprintf(setting.format, from, *value)
				break
			}
		}
	}
	changed := d
	changed.start.Activations = paging.Recompute
	if d.start.Rounded() && d.start.Activations != paging.Recompute {
		if fits, err := changed.fits(dev, small.Budget); err == nil && fits {
			hint += ", or set gradient_checkpointing to full"
		}
	}
	return hint
}

// fits tells whether the budget holds the run with everything on the host that can be there.
func (d demand) fits(dev *gpu.Device, budget int64) (bool, error) {
	d.start.PagedState, d.auto = true, false
	if lighter := d.start.Lighter(); len(lighter) > 0 {
		d.start.Activations = lighter[len(lighter)-1]
	}
	least, err := d.estimate(dev, func(p *paging.Plan) int64 { return p.Minimum })
	var mistake *usererr.Error
	if errors.As(err, &mistake) { // a tensor exceeds what can be bound, or a rank a matrix
		return false, nil
	}
	const margin = 64 << 10 // of the estimate
	return err == nil && least+margin <= budget, err
}

// estimate is a number of the plan without a budget, from plans for the first few layers: layers are alike, so it grows evenly with them. That is quick, and exact
// to a few KiB.
func (d demand) estimate(dev *gpu.Device, number func(p *paging.Plan) int64) (int64, error) {
	const few = 3
	whole := d.shape
	var at [2]int64
	for i := range at {
		d.shape = whole.WithLayers(few + i)
		p, err := d.plan(dev, 0)
		if err != nil {
			return 0, err
		}
		at[i] = number(p)
	}
	return at[0] + int64(len(whole.Layers)-few)*(at[1]-at[0]), nil
}

// decisions are the parts of a plan that the settings fix.
func (c Config) decisions() (d paging.Decisions) {
	d.PagedState, d.Activations = strings.HasPrefix(c.Optim, paged), activationsOf(c.GradientCheckpointing)
	if c.ActivationDType == ActivationsBF16 {
		d.Kept = gpu.BF16
	}
	return d
}

// ParseBudget reads a size such as 6GiB, 800MB or 1.5G; empty is 0.
func ParseBudget(text string) (int64, error) {
	if text == "" {
		return 0, nil
	}
	units := map[string]float64{
		"k": 1 << 10, "kib": 1 << 10, "kb": 1e3, "m": 1 << 20, "mib": 1 << 20, "mb": 1e6, "g": 1 << 30, "gib": 1 << 30, "gb": 1e9, "t": 1 << 40, "tib": 1 << 40, "tb": 1e12, "b": 1,
	}
	trimmed := strings.TrimSpace(text)
	end := strings.LastIndexAny(trimmed, "0123456789.") + 1
	number, err := strconv.ParseFloat(trimmed[:end], 64)
	unit, known := units[strings.ToLower(strings.TrimSpace(trimmed[end:]))]
	if err != nil || !known || !(number > 0) || number*unit > 1<<50 {
		return 0, wrong("vram_budget", strconv.Quote(text), "a size above 0 with its unit, such as 6GiB or 800MiB")
	}
	return int64(number * unit), nil
}

// describePlan is the plan as lines for people.
func describePlan(p *paging.Plan) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Memory: %s on the device", paging.Size(p.Peak))
	if p.Budget > 0 {
		fmt.Fprintf(&b, " of a budget of %s", paging.Size(p.Budget))
	}
	fmt.Fprintf(&b, " (everything resident: %s, the least: %s)", paging.Size(p.Resident), paging.Size(p.Minimum))
	if p.Host > 0 || p.Traffic > 0 {
		fmt.Fprintf(&b, "; %s on the host, %s moved a step", paging.Size(p.Host), paging.Size(p.Traffic))
	}
	b.WriteString("\n")
	for _, r := range p.Rows {
		device := ""
		if r.Device > 0 {
			device = paging.Size(r.Device)
		}
		fmt.Fprintf(&b, "  %-28s %-38s %10s", r.Name, r.Where, device)
		if r.Host > 0 {
			fmt.Fprintf(&b, "  host %s", paging.Size(r.Host))
		}
		if r.Traffic > 0 {
			fmt.Fprintf(&b, "  moves %s", paging.Size(r.Traffic))
		}
		b.WriteString("\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}
