//go:build !js

// Package bench measures: single kernels, whole optimizer steps, loading, paging.
package bench

import (
	"context"
	"errors"
	"regexp"
	"runtime"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/version"
)

// Speed is how fast something was. On a CPU device there are figures by CPU time too, as if the cores had done nothing
// else: flops divided by CPU seconds and multiplied by the number of cores. They survive other work on the machine.
type Speed struct {
	Seconds    float64 `json:"seconds"`
	GFLOPS     float64 `json:"gflops"`
	CPUSeconds float64 `json:"cpu_seconds,omitempty"`
	CPUGFLOPS  float64 `json:"cpu_gflops,omitempty"`
}

func speedOf(dev *gpu.Device, flops int64, took kernels.Took) Speed {
	s := Speed{Seconds: took.Seconds, GFLOPS: float64(flops) / took.Seconds / 1e9}
	if dev.Info.Type == "cpu" && took.CPUSeconds > 0 {
		s.CPUSeconds, s.CPUGFLOPS = took.CPUSeconds, float64(flops)/took.CPUSeconds/1e9*float64(runtime.GOMAXPROCS(0))
	}
	return s
}

// best is the figure that other work disturbs least.
func (s Speed) best() float64 {
	if s.CPUGFLOPS > 0 {
		return s.CPUGFLOPS
	}
	return s.GFLOPS
}

// KernelCell is what was measured of one kernel at one shape.
type KernelCell struct {
	Model   string  `json:"model"`
	Op      string  `json:"op"`
	T       int     `json:"tokens"`
	N       int     `json:"n,omitempty"`
	K       int     `json:"k,omitempty"`
	Heads   int     `json:"heads,omitempty"` // of attention
	KVHeads int     `json:"kv_heads,omitempty"`
	HeadDim int     `json:"head_dim,omitempty"`
	Window  int     `json:"window,omitempty"`
	SoftCap float32 `json:"soft_cap,omitempty"`
	Shape   string  `json:"-"`
	Variant string  `json:"variant,omitempty"` // empty: chosen by a rule
	Speed
	Flops   int64   `json:"flops"`
	Bytes   int64   `json:"bytes"`                // of operands and result, each counted once
	Share   float64 `json:"share_of_fma_ceiling"` // by CPU time on a CPU device
	GBs     float64 `json:"gbs"`
	Skipped string  `json:"skipped,omitempty"`
}

// KernelCeilings are the most that the device was seen to do in this call.
type KernelCeilings struct {
	Speed          // of multiply-adds in registers, two flops each
	FMAVectors int `json:"fma_vectors"` // with so many vec4 accumulators
	// GB/s read and written; by CPU time on a CPU device, as the figures of cells are.
	CopyF32     float64 `json:"copy_f32_gbs"`
	CopyVec4    float64 `json:"copy_vec4_gbs"`
	CopyF32CPU  float64 `json:"copy_f32_cpu_gbs,omitempty"`
	CopyVec4CPU float64 `json:"copy_vec4_cpu_gbs,omitempty"`
}

// KernelBench is the whole table.
type KernelBench struct {
	Device   string         `json:"device"`
	Driver   string         `json:"driver"`
	Version  string         `json:"version"` // of this program
	Cores    int            `json:"cores"`
	Ceilings KernelCeilings `json:"ceilings"`
	Cells    []KernelCell   `json:"cells"`
	Ratios   []Ratio        `json:"ratios"`
}

// benchModel has the shapes of a model's matrix products.
type benchModel struct {
	name                            string
	hidden, intermediate, kv, vocab int
}

var benchModels = []benchModel{
	{"SmolLM2-135M", 576, 1536, 192, 49152},
	{"Llama-3.2-1B", 2048, 8192, 512, 128256},
	{"Llama-3.2-3B", 3072, 8192, 1024, 128256},
	{"Llama-3.1-8B", 4096, 14336, 1024, 128256},
}

var benchTokens = []int{128, 512, 2048}

// Windows beside the same attention without.
var (
	slidingGemma = namedCell{"Gemma-3-4B", kernels.Cell{T: 4096, Heads: 8, KVHeads: 4, HeadDim: 256, Window: 1024}}
	slidingLong  = namedCell{"one head", kernels.Cell{T: 32768, Heads: 1, KVHeads: 1, HeadDim: 64, Window: 4096}}
)

// full is the cell without its window.
func (c namedCell) full() namedCell {
	c.Window = 0
	return c
}

// benchAttentions are heads of models, at benchTokens where no other number stands.
var benchAttentions = []namedCell{
	{"SmolLM2-135M", kernels.Cell{Heads: 9, KVHeads: 3, HeadDim: 64}},
	{"Phi-3-mini", kernels.Cell{Heads: 32, KVHeads: 32, HeadDim: 96}},
	{"Llama-3.2-3B", kernels.Cell{Heads: 24, KVHeads: 8, HeadDim: 128}},
	{"Gemma-3-1B", kernels.Cell{Heads: 4, KVHeads: 1, HeadDim: 256}},
	slidingGemma, slidingGemma.full(),
	{"Gemma-2-2B", kernels.Cell{T: 4096, Heads: 8, KVHeads: 4, HeadDim: 256, SoftCap: 50}},
	slidingLong, slidingLong.full(),
}

// linears are the shapes of a layer's linears, and how many it has of each.
func (m benchModel) linears() map[[2]int]int {
	return map[[2]int]int{{m.hidden, m.hidden}: 2, {m.kv, m.hidden}: 2, {m.intermediate, m.hidden}: 2, {m.hidden, m.intermediate}: 1}
}

// cells are the products of a step: linears forward, backward, and forward with float32 weights to compare with; and
// the head's.
func (m benchModel) cells(tokens int) (out []kernels.Cell) {
	for _, op := range append([]string{kernels.BenchF32Forward}, kernels.Operations(kernels.OfLinears)...) {
		for _, s := range [][2]int{{m.hidden, m.hidden}, {m.kv, m.hidden}, {m.intermediate, m.hidden}, {m.hidden, m.intermediate}} {
			out = append(out, kernels.Cell{Op: op, T: tokens, N: s[0], K: s[1]})
		}
	}
	for _, op := range kernels.Operations(kernels.OfHead) {
		out = append(out, kernels.Cell{Op: op, T: min(tokens, model.LossTokens), N: m.vocab, K: m.hidden})
	}
	return out
}

// namedCell is a cell under the name of the model it belongs to.
type namedCell struct {
	model string
	kernels.Cell
}

const (
	oddSizes  = "odd sizes" // no tile divides them
	oddTokens = 37
	oddRows   = 2036
)

// benchCells are all cells, each once.
func benchCells() (out []namedCell) {
	seen := map[kernels.Cell]bool{}
	add := func(model string, cells ...kernels.Cell) {
		for _, c := range cells {
			if !seen[c] {
				seen[c] = true
				out = append(out, namedCell{model, c})
			}
		}
	}
	for _, m := range benchModels {
		for _, c := range m.cells(1) { // generation has forward passes only
			if c.Op == kernels.BenchNF4Forward || c.Op == kernels.BenchForward {
				add(m.name, c)
			}
		}
		for _, tokens := range benchTokens {
			add(m.name, m.cells(tokens)...)
		}
	}
	for _, op := range kernels.Operations(kernels.OfLinears) {
		add(oddSizes, kernels.Cell{Op: op, T: oddTokens, N: oddRows, K: 2048})
	}
	for _, c := range benchAttentions {
		lengths := benchTokens
		if c.T > 0 {
			lengths = []int{c.T}
		}
		for _, op := range kernels.Operations(kernels.OfAttention) {
			for _, tokens := range lengths {
				c.Op, c.T = op, tokens
				add(c.model, c.Cell)
			}
		}
	}
	return out
}

// Kernels measures the device's ceilings and each cell, one after another, and gives each to report as it is done; then
// it compares them. emit is told where another device than the first is taken.
func Kernels(
	ctx context.Context, o settings.BenchKernels, emit func(events.Event), report func(KernelBench, KernelCell),
) (*KernelBench, error) {
	filter, err := regexp.Compile(o.Filter)
	if err != nil {
		return nil, settings.Wrong("filter", o.Filter, "a regular expression").Hinted("for instance nf4_forward.*T512")
	}
	dev, err := engine.OpenDevice(ctx, engine.Options{Device: o.Device, Cache: host.MeasurementsIn("")}, emit)
	if err != nil {
		return nil, err
	}
	defer dev.Release()
	if err := engine.ApplyMeasured(host.MeasurementsIn(""), dev); err != nil {
		return nil, err
	}
	b := &KernelBench{Device: dev.Info.String(), Driver: dev.Info.Driver, Version: version.Of().Revision(), Cores: runtime.GOMAXPROCS(0)}
	meter := kernels.Meter{Device: dev, CPU: host.CPUSeconds, Limit: o.Seconds}
	ceilings, err := meter.Ceilings(ctx)
	if err != nil {
		return nil, err
	}
	f32, vec4 := speedOf(dev, ceilings.CopyBytes, ceilings.CopyF32), speedOf(dev, ceilings.CopyBytes, ceilings.CopyVec4)
	b.Ceilings = KernelCeilings{
		Speed: speedOf(dev, ceilings.FMAFlops, ceilings.FMA), FMAVectors: ceilings.FMAVectors,
		CopyF32: f32.GFLOPS, CopyVec4: vec4.GFLOPS, CopyF32CPU: f32.CPUGFLOPS, CopyVec4CPU: vec4.CPUGFLOPS,
	}
	if b.Ceilings.CPUGFLOPS > 0 {
		b.Ceilings.CPUGFLOPS = ceilings.FMACPUFlops / 1e9 * float64(b.Cores)
	}
	for _, c := range benchCells() {
		if !filter.MatchString(c.model + " " + c.String()) {
			continue
		}
		cell := KernelCell{
			Model: c.model, Op: c.Op, T: c.T, N: c.N, K: c.K, Heads: c.Heads,
			KVHeads: c.KVHeads, HeadDim: c.HeadDim, Window: c.Window, SoftCap: c.SoftCap, Shape: c.Shape(), Flops: c.Flops(), Bytes: c.Bytes(),
		}
		took, variant, err := meter.Measure(ctx, c.Cell, o.Variant)
		var big kernels.TooBig
		var full *gpu.OutOfMemory
		var none kernels.NoVariant
		switch {
		case errors.As(err, &big), errors.As(err, &full), errors.As(err, &none):
			cell.Skipped = err.Error()
		case err != nil:
			return nil, err
		default:
			cell.Variant, cell.Speed = variant, speedOf(dev, cell.Flops, took)
			cell.Share, cell.GBs = cell.best()/b.Ceilings.best(), float64(cell.Bytes)/took.Seconds/1e9
		}
		b.Cells = append(b.Cells, cell)
		report(*b, cell)
	}
	b.Ratios = b.ratios()
	return b, nil
}
