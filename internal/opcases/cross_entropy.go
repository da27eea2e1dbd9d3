package opcases

import (
	"fmt"
	"math"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/reference"
)

var _ = register(crossEntropy)

// exact is the allowance of values that must come out bit for bit.
const exact = 1e-30

func crossEntropy() (cases []Case) {
	// Rows, vocabulary, columns (the stride), first row of targets and losses: around one vec4, one sweep of 256 vec4, and
	// vocabularies of real models.
	for _, s := range [][4]int{
		{1, 1, 4, 0}, {3, 5, 8, 2}, {64, 384, 384, 0}, {5, 1023, 1024, 0}, {5, 1024, 1024, 7}, {2, 1025, 1028, 0},
		{37, 1000, 1024, 1}, {17, 49152, 49152, 3}, {3, 151936, 151936, 0},
	} {
		for _, gradient := range []bool{true, false} {
			S, V, stride, first := s[0], s[1], s[2], s[3]
			shape := fmt.Sprintf("S=%d V=%d stride=%d first=%d", S, V, stride, first)
			if !gradient {
				shape += " loss only"
			}
			cases = append(cases, Case{Op: "cross_entropy_forward_backward", Shape: shape, Run: func(b *Bench) {
				runCrossEntropy(b, S, V, stride, first, gradient, 0)
			}})
		}
	}
	cases = append(cases, Case{Op: "cross_entropy_forward_backward", Shape: "S=5 V=1023 cap=30", Run: func(b *Bench) {
		runCrossEntropy(b, 5, 1023, 1024, 0, true, 30)
	}})
	for _, x := range []float64{math.NaN(), math.Inf(1)} {
		for _, v := range []int{0, 700, 999} {
			cases = append(cases, Case{Op: "cross_entropy_forward_backward", Shape: fmt.Sprintf("%v at %d", x, v), Run: func(b *Bench) {
				runNonFiniteCrossEntropy(b, v, float32(x))
			}})
		}
	}
	return cases
}

// runNonFiniteCrossEntropy puts one bad logit, not the target's, through loss, statistics and norm: the step must be
// skipped.
func runNonFiniteCrossEntropy(b *Bench, at int, bad float32) {
	const S, V = 3, 1000
	values := b.Values(S*V, 3)
	values[V+at] = bad
	logits := b.Input("logits", gpu.F32, S, V, values)
	targets := b.InputU32("targets", []uint32{5, 6, 7})
	losses, hits, stats := b.Scratch("losses", 1, S), b.Scratch("hits", 1, S), b.Scratch("stats", 1, kernels.StatCount)
	grads := []*gpu.Tensor{b.Input("grad", gpu.F32, 1, 256, b.Values(256, 1))}
	partials := b.InputU32("partials", make([]uint32, 2)).View(1, 2)
	skip := b.stat(stats, "skip", kernels.StatSkip, 1, exact)
	loss := kernels.CrossEntropy{Logits: logits, Vocab: V, Targets: targets, Losses: losses, Hits: hits}
	b.Record(func() {
		kernels.CrossEntropyForwardBackward(b.Rec, loss)
		kernels.LossSum(b.Rec, stats, losses, hits, S)
		kernels.GradientNorm(b.Rec, stats, partials, grads, 1, 1)
		skip()
	})
}

func runCrossEntropy(b *Bench, S, V, stride, first int, gradient bool, limit float32) {
	// Rows take turns: ordinary logits, logits so large that exp would overflow, and many equal maxima.
	dense := b.Values(S*V, 3)
	for i := range dense {
		switch i / V % 3 {
		case 1:
			dense[i] = 1000 + 20*dense[i]
		case 2:
			dense[i] = float32(int(dense[i] / 4))
		}
		if limit != 0 {
			dense[i] = min(max(dense[i], -limit), limit)
		}
	}
	targets := make([]uint32, first+S)
	hits := make([]float64, S)
	for s := range S {
		row := dense[s*V : s*V+V]
		best := 0
		for v, x := range row {
			if x > row[best] {
				best = v
			}
		}
		targets[first+s] = uint32(b.Intn(V))
		if b.Intn(2) == 0 {
			targets[first+s] = uint32(best)
		}
		if targets[first+s] == uint32(best) {
			hits[s] = 1
		}
	}
	losses, dlogits := reference.CrossEntropy(float64s(dense), targets[first:], V)
	if limit != 0 {
		for i, x := range dense {
			dlogits[i] *= 1 - math.Pow(float64(x)/float64(limit), 2)
		}
	}
	padded, want := make([]float32, S*stride), make([]float64, S*stride)
	for i := range padded {
		s, v := i/stride, i%stride
		if v >= V {
			padded[i] = 1e9 // would win every maximum
			continue
		}
		padded[i], want[i] = dense[s*V+v], dlogits[s*V+v]
	}
	// exp may be off by 3+2|x| units in the last place, 2.5e-6 relative at |x| = 20, where it weighs nothing; the square
	// of 1e-6 is 1e-12. An untouched logit is exact.
	allowance := 1e-10
	if !gradient {
		want, allowance = float64s(padded), exact
	}
	logits := b.Output("logits", S, stride, padded, want, allowance)
	// In front of the first row nothing is written.
	before := make([]float32, first+S)
	wantLosses, wantHits := make([]float64, first+S), make([]float64, first+S)
	for i := range first {
		before[i], wantLosses[i], wantHits[i] = 2, 2, 2
	}
	copy(wantLosses[first:], losses)
	copy(wantHits[first:], hits)
	ids := b.InputU32("targets", targets)
	// The sum of exp and its log: a few units of 6e-8 of the loss.
	l := b.Output("losses", 1, first+S, before, wantLosses, 1e-12)
	h := b.Output("hits", 1, first+S, before, wantHits, exact)
	run := kernels.CrossEntropyForward
	if gradient {
		run = kernels.CrossEntropyForwardBackward
	}
	loss := kernels.CrossEntropy{Logits: logits, Vocab: V, Targets: ids, Losses: l, Hits: h, First: first, SoftCap: limit}
	b.Record(func() { run(b.Rec, loss) })
}
