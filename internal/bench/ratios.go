//go:build !js

package bench

import (
	"fmt"

	"qlora-wgpu/internal/kernels"
)

// Ratio compares two figures of one call, so that neither the machine's speed nor other work on it decides.
type Ratio struct {
	Name    string  `json:"name"`
	Value   float64 `json:"value"`             // 0 where a cell is missing
	Goal    float64 `json:"goal,omitempty"`    // at least; 0: none
	Missing string  `json:"missing,omitempty"` // what was skipped or left out by the filter
}

// prototypeGFLOPS is the ceiling of multiply-adds that was found with software Vulkan on two cores when this project
// began.
const prototypeGFLOPS = 209

// ratios are the project's goals for kernels, by the speed of all linears of a layer of the 1B model together.
func (b *KernelBench) ratios() (out []Ratio) {
	const gemm = "NF4 GEMM at 512 tokens"
	ratio := func(name string, goal float64, a, of figure) {
		r := Ratio{Name: name, Goal: goal}
		switch {
		case a.missing != "":
			r.Missing = a.missing
		case of.missing != "":
			r.Missing = of.missing
		default:
			r.Value = a.gflops / of.gflops
		}
		out = append(out, r)
	}
	fma := figure{gflops: b.Ceilings.best()}
	if b.Ceilings.CPUGFLOPS > 0 {
		ratio(fmt.Sprintf("multiply-add ceiling : %d GFLOP/s, a prototype's on two other cores", prototypeGFLOPS),
			0.9, fma, figure{gflops: prototypeGFLOPS})
	}
	model := benchModels[1]
	layer := func(op string, tokens int) figure { return b.layer(model, op, tokens) }
	float32s, forward, backward := layer(kernels.BenchF32Forward, 512),
		layer(kernels.BenchNF4Forward, 512), layer(kernels.BenchNF4Backward, 512)
	ratio("float32 GEMM at 512 tokens : multiply-add ceiling", 0.2, float32s, fma)
	ratio(gemm+" : float32 GEMM", 0.85, forward, float32s)
	ratio("its dX : "+gemm, 0.8, backward, forward)
	ratio("NF4 GEMM at 128 tokens : at 512", 0.6, layer(kernels.BenchNF4Forward, 128), forward)
	ratio("its dX at 128 tokens : at 512", 0.6, layer(kernels.BenchNF4Backward, 128), backward)
	odd := fmt.Sprintf("%d tokens × %d rows", oddTokens, oddRows)
	ratio("NF4 GEMM, "+odd+" : at 512 tokens", 0.6, b.cell(oddSizes, kernels.BenchNF4Forward, oddTokens, 0), forward)
	ratio("its dX, "+odd+" : at 512 tokens", 0.6, b.cell(oddSizes, kernels.BenchNF4Backward, oddTokens, 0), backward)
	for _, tokens := range benchTokens {
		goal := 0.0
		if tokens == 2048 {
			goal = 0.3
		}
		for _, op := range []string{kernels.BenchAttentionForward, kernels.BenchAttentionBackward} {
			ratio(fmt.Sprintf("%s, %d tokens, 9 heads of 64 : %s", op, tokens, gemm), goal, b.cell("SmolLM2-135M", op, tokens, 9), forward)
		}
	}
	for _, c := range []namedCell{slidingGemma, slidingLong} {
		for _, c.Op = range kernels.Operations(kernels.OfAttention) {
			ratio(fmt.Sprintf("%s, %d tokens, %d heads of %d, window %d : without", c.Op, c.T, c.Heads, c.HeadDim, c.Window), 0.9,
				b.same(c), b.same(c.full()))
		}
	}
	return out
}

// figure is a speed, or what is missing for it.
type figure struct {
	gflops  float64
	missing string
}

// layer is the speed of all linears of a layer, one after another.
func (b *KernelBench) layer(m benchModel, op string, tokens int) figure {
	var flops, seconds float64
	for shape, count := range m.linears() {
		f := b.find(fmt.Sprintf("%s %s T%d N%d K%d", m.name, op, tokens, shape[0], shape[1]), func(c KernelCell) bool {
			return c.Model == m.name && c.Op == op && c.T == tokens && c.N == shape[0] && c.K == shape[1]
		})
		if f.missing != "" {
			return f
		}
		work := float64(count) * 2 * float64(tokens) * float64(shape[0]) * float64(shape[1])
		flops, seconds = flops+work, seconds+work/f.gflops
	}
	return figure{gflops: flops / seconds}
}

// cell is the speed of the one cell of the model, operation, number of tokens and of heads.
func (b *KernelBench) cell(model, op string, tokens, heads int) figure {
	return b.find(fmt.Sprintf("%s %s T%d", model, op, tokens), func(c KernelCell) bool {
		return c.Model == model && c.Op == op && c.T == tokens && c.Heads == heads
	})
}

// same is the speed of that cell.
func (b *KernelBench) same(cell namedCell) figure {
	return b.find(cell.model+" "+cell.String(), func(c KernelCell) bool {
		return c.Model == cell.model && c.Op == cell.Op && c.Shape == cell.Shape()
	})
}

func (b *KernelBench) find(name string, is func(KernelCell) bool) figure {
	for _, c := range b.Cells {
		if is(c) && c.Skipped == "" {
			return figure{gflops: c.best()}
		}
	}
	return figure{missing: name + " was not measured"}
}
