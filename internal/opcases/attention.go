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
	if s.largeLogits > 1 {
		name += fmt.Sprintf(" scale×%.0f", s.largeLogits)
	}
	return name
}

// allowance: a few hundred f32 products and exp (3 + 2|x| ulp) give a weight a relative error near 1e-7 each, below 1e-6 together. A score
// of 150 is rounded by 1e-5, which is the relative error of its weight.
func (s attentionCase) allowance() float64 {
	switch {
	case s.largeLogits > 1:
		return 1e-10
	case s.T == 1: // dk is zero, and what is left of it is how differently two sums of D products round
		return 1e-11
	}
	return 1e-12
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
	}
	for _, s := range shapes {
		cases = append(cases, attentionForward(s), attentionBackward(s))
	}
	cases = append(cases, attentionForward(attentionCase{T: 1, H: 9, KVH: 3, D: 64, before: 77, spare: 50}))
	cases = append(cases, attentionForward(attentionCase{T: 7, H: 4, KVH: 2, D: 32, before: 13, spare: 3}))
	cases = append(cases, attentionForward(attentionCase{T: 70, H: 4, KVH: 2, D: 64, before: 45, spare: 20}))
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
		}
	}
	r = reference.AttentionShape{H: s.H, KVH: s.KVH, D: s.D, Scale: float64(scale), FirstKey: first, QueryOffset: s.before}
	a = kernels.Attention{Heads: s.H, KVHeads: s.KVH, HeadDim: s.D, Scale: scale, QueryOffset: s.before,
		FirstKey: b.InputU32("first_key", first), LastQuery: b.InputU32("last_query", last)}
	return q, k, v, r, a
}

func attentionForward(s attentionCase) Case {
	const op = "attention_forward"
	return Case{Op: op, Shape: s.name(), Tune: op, Variants: kernels.Variants(op), Run: func(b *Bench) {
		q, k, v, shape, a := s.inputs(b)
		wantO, wantLSE := reference.AttentionForward(float64s(q), float64s(k), float64s(v), shape)
		keys := len(k) / (s.KVH * s.D)
		qs, ks, vs := b.Input("q", gpu.F32, s.T, s.H*s.D, q), b.Input("k", gpu.F32, keys, s.KVH*s.D, k), b.Input("v", gpu.F32, keys, s.KVH*s.D, v)
		o := b.Output("o", s.T, s.H*s.D, nil, wantO, s.allowance())
		lse := b.Output("lse", s.T, s.H, nil, wantLSE, 1e-12) // a sum of a row's scores, whose roundings do not grow
		b.Record(func() { kernels.AttentionForward(b.Rec, o, lse, qs, ks, vs, a) })
	}}
}

func attentionBackward(s attentionCase) Case {
	const op = "attention_backward"
	return Case{Op: op, Shape: s.name(), Tune: op, Variants: kernels.Variants(op), Run: func(b *Bench) {
		q, k, v, shape, a := s.inputs(b)
		do := b.Values(len(q), 1)
		o, lse := reference.AttentionForward(float64s(q), float64s(k), float64s(v), shape)
		o32, o := rounded(o)
		lse32, lse := rounded(lse)
		wantQ, wantK, wantV := reference.AttentionBackward(float64s(do), float64s(q), float64s(k), float64s(v), o, lse, shape)
		qs, ks, vs := b.Input("q", gpu.F32, s.T, s.H*s.D, q), b.Input("k", gpu.F32, s.T, s.KVH*s.D, k), b.Input("v", gpu.F32, s.T, s.KVH*s.D, v)
		dos, os := b.Input("do", gpu.F32, s.T, s.H*s.D, do), b.Input("o", gpu.F32, s.T, s.H*s.D, o32)
		lses, stats := b.Input("lse", gpu.F32, s.T, s.H, lse32), b.Scratch("stats", s.T, 2*s.H)
		dq := b.Output("dq", s.T, s.H*s.D, nil, wantQ, s.allowance())
		dk := b.Output("dk", s.T, s.KVH*s.D, nil, wantK, s.allowance())
		dv := b.Output("dv", s.T, s.KVH*s.D, nil, wantV, s.allowance())
		if s.chunk == 0 {
			b.Record(func() { kernels.AttentionBackward(b.Rec, dq, dk, dv, dos, qs, ks, vs, os, lses, stats, a) })
			return
		}
		firsts := map[int]*gpu.Tensor{}
		for first := 0; first < s.T; first += s.chunk {
			firsts[first] = b.InputU32("first_key of a chunk", shape.FirstKey[first:min(first+s.chunk, s.T)])
		}
		b.Record(func() {
			for first := 0; first < s.T; first += s.chunk {
				n, part := min(s.chunk, s.T-first), a
				part.FirstKey, part.QueryOffset, part.Accumulate = firsts[first], first, first > 0
				kernels.AttentionBackward(b.Rec, dq.Slice(first, n), dk, dv, dos.Slice(first, n), qs.Slice(first, n), ks, vs, os.Slice(first, n), lses.Slice(first, n), stats.View(n, 2*s.H), part)
			}
		})
	}}
}
