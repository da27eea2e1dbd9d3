package opcases

import (
	"fmt"
	"math"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/reference"
)

var _ = register(attention)

type attentionCase struct {
	T, H, KVH, D int
	segments     []int // where each begins, after the first at 0
	// keys before query 0, and rows of the cache behind the last key
	before, spare int
	// largeLogits multiplies the scale: softmaxes that are nearly one-hot, scores up to about 150
	largeLogits float64
	chunk       int // queries of a call; 0: all
	window      int // keys that a query sees at most; 0: any
	softCap     float32
}

func (s attentionCase) name() string {
	name := fmt.Sprintf("T=%d H=%d/%d D=%d", s.T, s.H, s.KVH, s.D)
	if s.segments != nil {
		name += fmt.Sprintf(" segments at %v", s.segments)
	}
	if s.before > 0 {
		name += fmt.Sprintf(" after %d keys", s.before)
	}
	if s.chunk > 0 {
		name += fmt.Sprintf(" chunks of %d", s.chunk)
	}
	if s.window > 0 {
		name += fmt.Sprintf(" window=%d", s.window)
	}
	if s.softCap > 0 {
		name += fmt.Sprintf(" cap=%v", s.softCap)
	}
	if s.largeLogits > 1 {
		name += fmt.Sprintf(" scale×%.0f", s.largeLogits)
	}
	return name
}

// allowance is the variant's tolerance, more where a case asks for it.
func (s attentionCase) allowance(b *Bench) float64 {
	switch {
	case s.largeLogits > 1: // a score of 150 is rounded by 1e-5, which is the relative error of its weight
		return 100 * b.Tolerance
	case s.T == 1: // dk is zero, and what is left of it is how differently two sums of D products round
		return 10 * b.Tolerance
	}
	return b.Tolerance
}

func attention() (cases []Case) {
	shapes := []attentionCase{
		{T: 1, H: 4, KVH: 2, D: 32},
		{T: 5, H: 4, KVH: 2, D: 32},
		{T: 33, H: 9, KVH: 3, D: 64},
		{T: 64, H: 4, KVH: 2, D: 32}, // 128 rows a head: exactly two workgroups of the 8-row tile
		{T: 65, H: 2, KVH: 2, D: 128},
		{T: 33, H: 1, KVH: 1, D: 256},
		{T: 17, H: 3, KVH: 1, D: 4},
		{T: 130, H: 9, KVH: 3, D: 64},
		{T: 65, H: 9, KVH: 3, D: 64, segments: []int{20}},
		{T: 130, H: 4, KVH: 2, D: 32, segments: []int{1, 77}},
		{T: 65, H: 4, KVH: 2, D: 32, largeLogits: 30},
		// Several windows of 64 KiB, and rows that see nothing of an earlier one.
		{T: 130, H: 2, KVH: 1, D: 256, segments: []int{70}},
		{T: 270, H: 2, KVH: 1, D: 64},
		{T: 130, H: 4, KVH: 1, D: 96, segments: []int{35, 70}},
		{T: 130, H: 4, KVH: 2, D: 32, window: 7},
		{T: 150, H: 2, KVH: 1, D: 64, segments: []int{35}, window: 40},
		{T: 270, H: 2, KVH: 1, D: 64, window: 130},
		{T: 300, H: 1, KVH: 1, D: 256, window: 20},
		{T: 65, H: 4, KVH: 2, D: 32, softCap: 1.5},
		{T: 65, H: 2, KVH: 1, D: 256, segments: []int{20}, softCap: 50, window: 30, largeLogits: 30},
		{T: 150, H: 4, KVH: 2, D: 96, window: 70, softCap: 2},
		{T: 200, H: 4, KVH: 2, D: 256, segments: []int{3, 90}, window: 70},
	}
	for _, s := range shapes {
		cases = append(cases, attentionForward(s), attentionBackward(s))
	}
	cases = append(cases, attentionForward(attentionCase{T: 1, H: 9, KVH: 3, D: 64, before: 77, spare: 50}))
	cases = append(cases, attentionForward(attentionCase{T: 7, H: 4, KVH: 2, D: 32, before: 13, spare: 3}))
	cases = append(cases, attentionForward(attentionCase{T: 70, H: 4, KVH: 2, D: 64, before: 45, spare: 20}))
	cases = append(cases, attentionForward(attentionCase{T: 1, H: 4, KVH: 1, D: 64, before: 200, spare: 20, window: 70}))
	cases = append(cases, attentionForward(attentionCase{T: 70, H: 4, KVH: 2, D: 64, before: 45, spare: 20, window: 50, softCap: 2}))
	cases = append(cases, attentionForward(attentionCase{T: 70, H: 4, KVH: 2, D: 256, before: 45, spare: 20, window: 50, softCap: 2}))
	cases = append(cases, attentionForward(attentionCase{T: 70, H: 3, KVH: 1, D: 96, before: 45, spare: 20}))
	cases = append(cases, attentionBackward(attentionCase{T: 150, H: 3, KVH: 1, D: 96, segments: []int{100}, chunk: 64, window: 80}))
	cases = append(cases, attentionBackward(attentionCase{T: 200, H: 4, KVH: 2, D: 64, segments: []int{20}, chunk: 64, window: 30}))
	cases = append(cases, attentionBackward(attentionCase{T: 130, H: 2, KVH: 1, D: 256, chunk: 64, window: 40, softCap: 1}))
	cases = append(cases, attentionBackward(attentionCase{T: 130, H: 9, KVH: 3, D: 64, segments: []int{20}, chunk: 64}))
	cases = append(cases, attentionBackward(attentionCase{T: 65, H: 4, KVH: 2, D: 32, segments: []int{7, 40}, chunk: 16}))
	cases = append(cases, attentionBackward(attentionCase{T: 150, H: 4, KVH: 1, D: 128, segments: []int{100}, chunk: 64}))
	cases = append(cases, attentionBackward(attentionCase{T: 130, H: 2, KVH: 1, D: 256, segments: []int{70}, chunk: 64}))
	return cases
}

// inputs makes q, k, v and the shape for both sides.
func (s attentionCase) inputs(b *Bench) (q, k, v []float32, r reference.AttentionShape, a kernels.Attention) {
	keys := s.T + s.before + s.spare
	q, k, v = b.Values(s.T*s.H*s.D, 1), b.Values(keys*s.KVH*s.D, 1), b.Values(keys*s.KVH*s.D, 1)
	scale := float32(max(s.largeLogits, 1) / math.Sqrt(float64(s.D)))
	first, last := make([]uint32, s.T), make([]uint32, s.T)
	bounds := append(append([]int{0}, s.segments...), s.T)
	for i, begin := range bounds[:len(bounds)-1] {
		for t := begin; t < bounds[i+1]; t++ {
			first[t], last[t] = uint32(begin), uint32(bounds[i+1])
			if s.window > 0 {
				first[t], last[t] = max(first[t], uint32(max(0, t+s.before+1-s.window))), min(last[t], uint32(t+s.window))
			}
		}
	}
	r = reference.AttentionShape{H: s.H, KVH: s.KVH, D: s.D, Scale: float64(scale), SoftCap: float64(s.softCap), FirstKey: first,
		QueryOffset: s.before}
	a = kernels.Attention{Heads: s.H, KVHeads: s.KVH, HeadDim: s.D, Scale: scale, SoftCap: s.softCap, Window: s.window, QueryOffset: s.before,
		FirstKey: b.InputU32("first_key", first), LastQuery: b.InputU32("last_query", last)}
	return q, k, v, r, a
}

func attentionForward(s attentionCase) Case {
	const op = "attention_forward"
	return Case{Op: op, Shape: s.name(), Run: func(b *Bench) {
		q, k, v, shape, a := s.inputs(b)
		wantO, wantLSE := reference.AttentionForward(float64s(q), float64s(k), float64s(v), shape)
		keys := len(k) / (s.KVH * s.D)
		qs, ks, vs := b.Input("q", gpu.F32, s.T, s.H*s.D, q), b.Input("k", gpu.F32, keys, s.KVH*s.D, k), b.Input("v", gpu.F32, keys, s.KVH*s.D, v)
		o := b.Output("o", s.T, s.H*s.D, nil, wantO, s.allowance(b))
		lse := b.Output("lse", s.T, s.H, nil, wantLSE, b.Tolerance) // a sum of a row's scores, whose roundings do not grow
		b.Record(func() {
			kernels.AttentionForward(b.Rec, a, kernels.AttentionTensors{Q: qs, K: ks, V: vs, O: o, LSE: lse})
		})
	}}
}

func attentionBackward(s attentionCase) Case {
	const op = "attention_backward"
	return Case{Op: op, Shape: s.name(), Run: func(b *Bench) {
		q, k, v, shape, a := s.inputs(b)
		do := b.Values(len(q), 1)
		o, lse := reference.AttentionForward(float64s(q), float64s(k), float64s(v), shape)
		o32, o := rounded(o)
		lse32, lse := rounded(lse)
		wantQ, wantK, wantV := reference.AttentionBackward(float64s(do), float64s(q), float64s(k), float64s(v), o, lse, shape)
		t := kernels.AttentionTensors{
			Q: b.Input("q", gpu.F32, s.T, s.H*s.D, q), K: b.Input("k", gpu.F32, s.T, s.KVH*s.D, k), V: b.Input("v", gpu.F32, s.T, s.KVH*s.D, v),
			DO: b.Input("do", gpu.F32, s.T, s.H*s.D, do), O: b.Input("o", gpu.F32, s.T, s.H*s.D, o32),
			LSE: b.Input("lse", gpu.F32, s.T, s.H, lse32), Stats: b.Scratch("stats", s.T, 2*s.H),
			DQ: b.Output("dq", s.T, s.H*s.D, nil, wantQ, s.allowance(b)),
			DK: b.Output("dk", s.T, s.KVH*s.D, nil, wantK, s.allowance(b)), DV: b.Output("dv", s.T, s.KVH*s.D, nil, wantV, s.allowance(b)),
		}
		if s.chunk == 0 {
			b.Record(func() { kernels.AttentionBackward(b.Rec, a, t) })
			return
		}
		firsts := map[int]*gpu.Tensor{}
		for first := 0; first < s.T; first += s.chunk {
			firsts[first] = b.InputU32("first_key of a chunk", shape.FirstKey[first:min(first+s.chunk, s.T)])
		}
		b.Record(func() {
			for first := 0; first < s.T; first += s.chunk {
				n, spec, part := min(s.chunk, s.T-first), a, t
				spec.FirstKey, spec.QueryOffset, spec.Accumulate = firsts[first], first, first > 0
				part.Q, part.O, part.LSE = t.Q.Slice(first, n), t.O.Slice(first, n), t.LSE.Slice(first, n)
				part.DQ, part.DO, part.Stats = t.DQ.Slice(first, n), t.DO.Slice(first, n), t.Stats.View(n, 2*s.H)
				kernels.AttentionBackward(b.Rec, spec, part)
			}
		})
	}}
}
