package opcases

import (
	"fmt"
	"math"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/reference"
)

var _ = register(gradientNorm)

type gradientNormCase struct {
	name           string
	sizes          []int // of the flat buffers
	std            float64
	scale, maxNorm float32
	loss           float32
	bad            map[int]float32 // elements replaced, by index through all buffers
	overflows      bool
}

func gradientNorm() (cases []Case) {
	nan, inf := float32(math.NaN()), float32(math.Inf(1))
	// Around one block of 256, one workgroup of 4096 and one sweep of the second pass (256 blocks = 65,536 elements); the
	// sizes of a small model's adapters.
	for _, c := range []gradientNormCase{
		{name: "one block", sizes: []int{256}, std: 1, scale: 1.0 / 37, maxNorm: 0.3},
		{name: "one workgroup, below the limit", sizes: []int{4096}, std: 1e-3, scale: 1.0 / 128, maxNorm: 0.3},
		{name: "no clipping", sizes: []int{4352}, std: 100, scale: 1, maxNorm: 0},
		{name: "tiny", sizes: []int{4096}, std: 1e-12, scale: 1.0 / 16, maxNorm: 1},
		{name: "huge", sizes: []int{4096}, std: 1e6, scale: 1.0 / 16, maxNorm: 1},
		{name: "first is NaN", sizes: []int{4096, 512}, std: 1, scale: 1, maxNorm: 1, bad: map[int]float32{0: nan}},
		// in the middle: OneOfEach takes it
		{name: "two buffers", sizes: []int{100096, 4352}, std: 1, scale: 1.0 / 2048, maxNorm: 1},
		{name: "middle is Inf", sizes: []int{4352, 512}, std: 1, scale: 1, maxNorm: 1, bad: map[int]float32{2100: inf, 4400: nan}},
		{name: "last is -Inf", sizes: []int{100096, 512}, std: 1, scale: 1, maxNorm: 1, bad: map[int]float32{100096 + 511: -inf}},
		{name: "loss is NaN", sizes: []int{512}, std: 1, scale: 1, maxNorm: 1, loss: nan},
		{name: "loss is Inf", sizes: []int{512}, std: 1, scale: 1, maxNorm: 1, loss: inf},
		{name: "sum overflows", sizes: []int{512}, std: 1e30, scale: 1, maxNorm: 1, overflows: true},
		{name: "several sweeps", sizes: []int{2_000_128}, std: 1e-4, scale: 1.0 / 512, maxNorm: 1},
	} {
		cases = append(cases, Case{Op: "gradient_norm", Shape: fmt.Sprintf("%s n=%v", c.name, c.sizes), Run: c.run})
	}
	return cases
}

func (c gradientNormCase) run(b *Bench) {
	var grads []*gpu.Tensor
	var finite []float64
	wantBad := -1.0
	at := 0
	for i, n := range c.sizes {
		values := b.Values(n, c.std)
		for j := range values {
			if x, replaced := c.bad[at]; replaced {
				values[j] = x
				if wantBad < 0 {
					wantBad = float64(at / 256)
				}
			} else {
				finite = append(finite, float64(values[j]))
			}
			at++
		}
		grads = append(grads, b.Input(fmt.Sprintf("grad %d", i), gpu.F32, 1, n, values))
	}
	norm := reference.GradientNorm(finite, float64(c.scale))
	wantScale, wantSkip := float64(c.scale), 0.0
	if c.maxNorm > 0 {
		wantScale *= reference.ClipCoefficient(norm, float64(c.maxNorm))
	}
	if wantBad >= 0 || c.overflows || !(math.Abs(float64(c.loss)) < math.Inf(1)) {
		wantScale, wantSkip = 0, 1
	}
	initial := make([]float32, kernels.StatCount)
	initial[kernels.StatLoss] = c.loss
	stats := b.Input("stats", gpu.F32, 1, kernels.StatCount, initial)
	partials, err := b.Dev.NewTensor("partials", gpu.U32, kernels.GradientNormPartials(grads), 2)
	if err != nil {
		panic(err)
	}
	b.buffers = append(b.buffers, partials)
	// 16 squares in a lane, a tree of 16, a few dozen partials in a lane, a tree of 256: 1e-6 relative is asked, 2e-7
	// allowed; squared.
	records := []func(){
		b.stat(stats, "scale", kernels.StatScale, wantScale, 4e-14),
		b.stat(stats, "skip", kernels.StatSkip, wantSkip, exact),
		b.stat(stats, "bad", kernels.StatBad, wantBad, exact),
	}
	if !c.overflows {
		records = append(records, b.stat(stats, "norm", kernels.StatGradNorm, norm, 4e-14))
	}
	b.Record(func() {
		kernels.GradientNorm(b.Rec, stats, partials, grads, c.scale, c.maxNorm)
		for _, record := range records {
			record()
		}
	})
}
