//go:build !js

package trainer

import (
	"context"
	"fmt"
	"regexp"
	"time"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
)

// BenchKernelsOptions are the settings of a benchmark of single kernels.
type BenchKernelsOptions struct {
	Device  string
	Filter  string        // regular expression over "model op T N K"; empty: all
	Variant string        // of every operation; empty: what the autotune chose or would fall back to
	Limit   time.Duration // for each cell
}

// KernelCell is what was measured of one kernel at one shape.
type KernelCell struct {
	Model   string  `json:"model"`
	Op      string  `json:"op"`
	T       int     `json:"tokens"`
	N       int     `json:"n"`
	K       int     `json:"k"`
	Seconds float64 `json:"seconds"`
	GFLOPS  float64 `json:"gflops"`
	Share   float64 `json:"share_of_fma_ceiling"`
	GBs     float64 `json:"gbs"` // of operands and result, each counted once
	Skipped string  `json:"skipped,omitempty"`
}

// KernelBench is the whole table.
type KernelBench struct {
	Device   string           `json:"device"`
	Driver   string           `json:"driver"`
	Ceilings kernels.Ceilings `json:"ceilings"`
	Cells    []KernelCell     `json:"cells"`
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

// cells are the products of a step: NF4 linears forward and backward, and the head's.
func (m benchModel) cells(tokens int) (out []kernels.Cell) {
	for _, op := range []string{"matmul_nf4_forward", "matmul_nf4_backward"} {
		for _, s := range [][2]int{{m.hidden, m.hidden}, {m.kv, m.hidden}, {m.intermediate, m.hidden}, {m.hidden, m.intermediate}} {
			out = append(out, kernels.Cell{Op: op, T: tokens, N: s[0], K: s[1]})
		}
	}
	for _, op := range []string{"matmul_forward", "matmul_backward"} {
		out = append(out, kernels.Cell{Op: op, T: min(tokens, 128), N: m.vocab, K: m.hidden}) // the head takes 128 tokens at a time
	}
	return out
}

// bytes is operands and result, each counted once.
func cellBytes(c kernels.Cell) float64 {
	weight := 0.516 // NF4 with double quantization
	if c.Op == "matmul_forward" || c.Op == "matmul_backward" {
		weight = 2 // bfloat16
	}
	return weight*float64(c.N)*float64(c.K) + 4*float64(c.T)*float64(c.N+c.K)
}

// BenchKernels measures the device's ceilings and each cell, one after another, and gives each to report as it is done.
func BenchKernels(ctx context.Context, o BenchKernelsOptions, report func(KernelBench, KernelCell)) (*KernelBench, error) {
	filter, err := regexp.Compile(o.Filter)
	if err != nil {
		return nil, wrong("filter", o.Filter, "a regular expression").Hinted("for instance nf4_forward.*T512")
	}
	dev, err := gpu.Open(ctx, gpu.Options{Adapter: o.Device})
	if err != nil {
		return nil, err
	}
	defer dev.Release()
	if m := loadMeasurements(measurementCache(""), dev); len(m.Variants) > 0 {
		if err := m.apply(dev); err != nil {
			return nil, err
		}
	}
	b := &KernelBench{Device: describeDevice(dev.Info), Driver: dev.Info.Driver}
	if b.Ceilings, err = kernels.MeasureCeilings(ctx, dev, o.Limit); err != nil {
		return nil, err
	}
	done := map[kernels.Cell]bool{}
	for _, m := range benchModels {
		for _, tokens := range []int{1, 128, 512, 2048} {
			for _, c := range m.cells(tokens) {
				if done[c] || !filter.MatchString(m.name+" "+c.String()) {
					continue
				}
				done[c] = true
				cell := KernelCell{Model: m.name, Op: c.Op, T: c.T, N: c.N, K: c.K}
				took, ok, err := c.Measure(ctx, dev, o.Variant, o.Limit)
				if err != nil {
					return nil, err
				}
				if ok {
					cell.Seconds = took.Seconds()
					cell.GFLOPS = 2 * float64(c.T) * float64(c.N) * float64(c.K) / took.Seconds() / 1e9
					cell.Share = cell.GFLOPS / b.Ceilings.GFLOPS
					cell.GBs = cellBytes(c) / took.Seconds() / 1e9
				} else {
					cell.Skipped = fmt.Sprintf("an operand exceeds the %d bytes of a binding; in a run it is sharded", dev.Limits.MaxBindingBytes)
				}
				b.Cells = append(b.Cells, cell)
				report(*b, cell)
			}
		}
	}
	return b, nil
}
