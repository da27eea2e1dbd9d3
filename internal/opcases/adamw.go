package opcases

import (
	"fmt"
	"math"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/reference"
)

var _ = register(adamW)

func adamW() (cases []Case) {
	// One block, one workgroup of 1024 and its neighbours, the flat sizes of gradient_norm; 50 steps where the error may
	// grow.
	for _, s := range []struct {
		n, steps int
		decay    float64
	}{{256, 50, 0.01}, {1024, 3, 0}, {1280, 3, 0.1}, {4096, 50, 0}, {4352, 50, 0.1}, {100096, 50, 0.01}} {
		cases = append(cases, Case{Op: "adamw_step", Shape: fmt.Sprintf("n=%d steps=%d decay=%g", s.n, s.steps, s.decay), Run: func(b *Bench) {
			runAdamW(b, s.n, s.steps, s.decay)
		}})
	}
	for _, at := range []int{0, 2600, 4351} {
		for _, x := range []float64{math.NaN(), math.Inf(1)} {
			cases = append(cases, Case{Op: "adamw_step", Shape: fmt.Sprintf("skipped for %v at %d", x, at), Run: func(b *Bench) {
				runSkippedAdamW(b, at, float32(x))
			}})
		}
	}
	return cases
}

func runAdamW(b *Bench, n, steps int, decay float64) {
	const scale = 1.0 / 64
	param := b.Values(n, 0.05)
	wantParam, wantM, wantV := float64s(param), make([]float64, n), make([]float64, n)
	settings := func(step int) kernels.AdamW {
		// The rate changes from step to step, as a schedule's does.
		return kernels.AdamW{LearningRate: 2e-3 / float64(step), Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, WeightDecay: decay, Step: step}
	}
	grads := make([][]byte, steps)
	for i := range grads {
		var scaled []float64
		grads[i], scaled = gradients(b, n, scale)
		reference.AdamW(wantParam, scaled, wantM, wantV, referenceSettings(settings(i+1)), i+1)
	}
	initial := make([]float32, kernels.StatCount)
	initial[kernels.StatScale] = scale
	stats := b.Input("stats", gpu.F32, 1, kernels.StatCount, initial)
	// Each step rounds a few times by 6e-8; 50 steps of a random walk stay within 3e-7 relative.
	p := b.Output("param", 1, n, param, wantParam, 1e-13)
	m := b.Output("m", 1, n, make([]float32, n), wantM, 1e-13)
	v := b.Output("v", 1, n, make([]float32, n), wantV, 1e-13)
	grad := b.Output("grad", 1, n, nil, make([]float64, n), exact)
	b.Record(func() {
		for i, data := range grads {
			b.Rec.Upload(grad.Single(), data)
			kernels.AdamWStep(b.Rec, kernels.AdamWTensors{Param: p, Grad: grad, M: m, V: v, Stats: stats}, settings(i+1))
		}
	})
}

// runSkippedAdamW puts one non-finite gradient through the norm and the update: parameters and moments stay bit for
// bit, gradients start anew.
func runSkippedAdamW(b *Bench, at int, bad float32) {
	const n = 4352
	param, first, second, g := b.Values(n, 0.05), b.Values(n, 1), b.Values(n, 1), b.Values(n, 1)
	for i := range second {
		second[i] *= second[i]
	}
	g[at] = bad
	stats := b.Input("stats", gpu.F32, 1, kernels.StatCount, make([]float32, kernels.StatCount))
	grad := b.Output("grad", 1, n, g, make([]float64, n), exact)
	partials, err := b.Dev.NewTensor("partials", gpu.U32, kernels.GradientNormPartials([]*gpu.Tensor{grad}), 2)
	if err != nil {
		panic(err)
	}
	b.buffers = append(b.buffers, partials)
	p := b.Output("param", 1, n, param, float64s(param), exact)
	m := b.Output("m", 1, n, first, float64s(first), exact)
	v := b.Output("v", 1, n, second, float64s(second), exact)
	b.Record(func() {
		kernels.GradientNorm(b.Rec, stats, partials, []*gpu.Tensor{grad}, 1, 1)
		kernels.AdamWStep(b.Rec, kernels.AdamWTensors{Param: p, Grad: grad, M: m, V: v, Stats: stats},
			kernels.AdamW{LearningRate: 1e-3, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, WeightDecay: 0.01, Step: 3})
	})
}

// gradients are n seeded ones, and scale times them. Elements differ in size from 1e-6 to 1: with the smallest, epsilon
// takes part.
func gradients(b *Bench, n int, scale float64) (data []byte, scaled []float64) {
	g := b.Values(n, 1)
	scaled = make([]float64, n)
	for j := range g {
		g[j] *= []float32{1, 1e-3, 1e-6}[j%3]
		scaled[j] = float64(g[j]) * scale
	}
	return gpu.Float32Bytes(g), scaled
}

func referenceSettings(s kernels.AdamW) reference.AdamWSettings {
	return reference.AdamWSettings{LearningRate: s.LearningRate, Beta1: s.Beta1, Beta2: s.Beta2, Eps: s.Epsilon, WeightDecay: s.WeightDecay}
}
