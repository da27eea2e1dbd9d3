package opcases

import (
	"encoding/binary"
	"fmt"
	"math"

	"qlora-wgpu/doublequant"
	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/reference"
)

var _ = register(adamW8bit)

func adamW8bit() (cases []Case) {
	// One block, with a decay so large that its place after the update shows; one workgroup of 1024 and its neighbours; 50
	// steps where codes that fell to the other side of a midpoint may add up.
	for _, s := range []struct {
		n, steps int
		decay    float64
	}{{256, 1, 10}, {256, 50, 0.01}, {1024, 3, 0}, {1280, 3, 0.1}, {16640, 50, 0.01}} {
		shape := fmt.Sprintf("n=%d steps=%d decay=%g", s.n, s.steps, s.decay)
		cases = append(cases, Case{Op: "adamw_8bit_step", Shape: shape, Run: func(b *Bench) {
			runAdamW8bit(b, s.n, s.steps, s.decay, false)
		}})
	}
	return append(cases, Case{Op: "adamw_8bit_step", Shape: "n=1280 skipped after 2 steps", Run: func(b *Bench) {
		runAdamW8bit(b, 1280, 2, 0.1, true)
	}})
}

// runAdamW8bit runs the steps, and after them one with a gradient of NaN where skipped: that one changes nothing.
func runAdamW8bit(b *Bench, n, steps int, decay float64, skipped bool) {
	const scale = 1.0 / 64
	param := b.Values(n, 0.05)
	want, moments := float64s(param), reference.NewMoments8(n)
	settings := func(step int) kernels.AdamW {
		return kernels.AdamW{LearningRate: 2e-3 / float64(step), Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, WeightDecay: decay, Step: step}
	}
	grads := make([][]byte, steps)
	for i := range grads {
		var scaled []float64
		grads[i], scaled = gradients(b, n, scale)
		if i == 0 {
			// The last block's first moment, and so its code, is zero in half of the elements, as in padding.
			for j := n - 128; j < n; j++ {
				binary.LittleEndian.PutUint32(grads[i][4*j:], 0)
				scaled[j] = 0
			}
		}
		reference.AdamW8bit(want, scaled, moments, referenceSettings(settings(i+1)), i+1)
	}
	statistics := func(scale, skip float32) []byte {
		values := make([]float32, kernels.StatCount)
		values[kernels.StatScale], values[kernels.StatSkip] = scale, skip
		return gpu.Float32Bytes(values)
	}
	stats := b.Scratch("stats", 1, kernels.StatCount)
	maps := b.Input("maps", gpu.F32, 1, 512, append(append([]float32{}, doublequant.SignedMap[:]...), doublequant.UnsignedMap[:]...))
	wantM, wantV := moments.Decode()
	// A value that rounding in float32 moves over a midpoint gets a neighbour's code, an entry that is 1 % to 10 % away:
	// one in 10^5 a step. The next steps start from there, and the update takes it with the weight of one gradient in ten.
	allowance := 1e-9
	if steps == 1 {
		allowance = 1e-13
	}
	p := b.Output("param", 1, n, param, want, allowance)
	moment := func(name string, entries [256]float32, want []float64) *gpu.Tensor {
		blocks := n / kernels.FlatBlock
		return b.OutputWords(Words{
			Name: name, Rows: blocks, Cols: kernels.MomentWords, Initial: make([]uint32, blocks*kernels.MomentWords),
			Decode: decodeMoments(n, entries), Want: want, Allowance: 1e-5,
		})
	}
	m, v := moment("m", doublequant.SignedMap, wantM), moment("v", doublequant.UnsignedMap, wantV)
	grad := b.Output("grad", 1, n, nil, make([]float64, n), exact)
	state := kernels.AdamWTensors{Param: p, Grad: grad, M: m, V: v, Maps: maps, Stats: stats}
	b.Record(func() {
		b.Rec.Upload(stats.Single(), statistics(scale, 0))
		for i, data := range grads {
			b.Rec.Upload(grad.Single(), data)
			kernels.AdamW8bitStep(b.Rec, state, settings(i+1))
		}
		if skipped {
			b.Rec.Upload(stats.Single(), statistics(float32(math.NaN()), 1))
			b.Rec.Upload(grad.Single(), grads[0])
			kernels.AdamW8bitStep(b.Rec, state, settings(steps+1))
		}
	})
}

// decodeMoments reads n moments out of records of a block's codes and absmax.
func decodeMoments(n int, entries [256]float32) func(data []byte) []float64 {
	return func(data []byte) []float64 {
		out := make([]float64, n)
		for i := range out {
			record := data[i/kernels.FlatBlock*4*kernels.MomentWords:]
			absmax := math.Float32frombits(binary.LittleEndian.Uint32(record[kernels.FlatBlock:]))
			out[i] = float64(entries[record[i%kernels.FlatBlock]]) * float64(absmax)
		}
		return out
	}
}
