package model

import (
	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// Attention is causal self-attention with grouped keys and values and rotary positions. Keys and values are one tensor
// for all tokens, queries come in chunks.
type Attention struct {
	Q, K, V, O              *lora.Linear
	Heads, KVHeads, HeadDim int
	Scale                   float32
}

// AttentionKept is what Backward needs of Forward: q and k are rotated, o is before the output projection.
type AttentionKept struct {
	k, v   *gpu.Tensor
	chunks []attentionChunk
}

type attentionChunk struct {
	q, o, lse      *gpu.Tensor
	uQ, uK, uV, uO *gpu.Tensor // LoRA's dropout(x) Aᵀ
}

func (a *Attention) spec(p *Pass, c Chunk) kernels.Attention {
	return kernels.Attention{
		Heads: a.Heads, KVHeads: a.KVHeads, HeadDim: a.HeadDim, Scale: a.Scale,
		FirstKey: c.FirstKey, LastQuery: p.LastQuery, QueryOffset: c.First,
	}
}

// Forward gives, chunk after chunk, y [T, C] for norm(x), x [T, C], to add. What is kept may be freed with Release.
func (a *Attention) Forward(
	p *Pass, w paging.Weights, norm Norm, x []*gpu.Tensor, add func(chunk int, y *gpu.Tensor),
) (kept *AttentionKept) {
	kept = &AttentionKept{k: p.New("k", p.Tokens, a.K.Out), v: p.New("v", p.Tokens, a.V.Out), chunks: make([]attentionChunk, len(p.Chunks))}
	for i, c := range p.Chunks {
		part, k := p.part(i), &kept.chunks[i]
		normed := norm.Forward(p, w, x[i])
		key, value := kept.k.Slice(c.First, c.Tokens), kept.v.Slice(c.First, c.Tokens)
		k.q = p.New("q", c.Tokens, a.Q.Out)
		k.uQ = a.Q.Forward(part, k.q, normed, w.Linear(a.Q.Weight))
		k.uK = a.K.Forward(part, key, normed, w.Linear(a.K.Weight))
		k.uV = a.V.Forward(part, value, normed, w.Linear(a.V.Weight))
		p.Free(normed)
		kernels.RoPEForward(p.Rec, k.q, p.Cos, p.Sin, c.Positions, a.Heads, a.HeadDim)
		kernels.RoPEForward(p.Rec, key, p.Cos, p.Sin, c.Positions, a.KVHeads, a.HeadDim)
	}
	for i, c := range p.Chunks {
		k := &kept.chunks[i]
		k.o, k.lse = p.New("attention", c.Tokens, a.Q.Out), p.New("lse", c.Tokens, a.Heads)
		spec, keys, values := a.spec(p, c), kept.k, kept.v
		if p.Cache != nil { // and a single chunk
			keys, values = p.Cache.K[p.Layer], p.Cache.V[p.Layer]
			appendRows(p.Rec, keys, kept.k, p.Cache.Length)
			appendRows(p.Rec, values, kept.v, p.Cache.Length)
			spec.QueryOffset = p.Cache.Length
		}
		kernels.AttentionForward(p.Rec, k.o, k.lse, k.q, keys, values, spec)
		y := p.New("attention output", c.Tokens, a.O.Out)
		k.uO = a.O.Forward(p.part(i), y, k.o, w.Linear(a.O.Weight))
		add(i, y)
		p.Free(y)
	}
	return kept
}

// appendRows copies src's rows into the cache from row `at` on.
func appendRows(rec *gpu.Recorder, cache, src *gpu.Tensor, at int) {
	from, to := src.Single(), cache.Single()
	size := src.Bytes()
	to.Offset, to.Size, from.Size = to.Offset+int64(at*src.Cols)*4, size, size
	rec.Copy(to, from)
}

// Release frees what was kept, when no backward follows.
func (k *AttentionKept) Release(p *Pass) {
	p.Free(k.k, k.v)
	for _, c := range k.chunks {
		p.Free(c.q, c.o, c.lse, c.uQ, c.uK, c.uV, c.uO)
	}
}

// Backward adds to dx [T, C], the gradient of what Forward's y was added to, that of x, unless it is not wanted, and
// frees what was kept.
func (a *Attention) Backward(p *Pass, w paging.Weights, norm Norm, dx, x []*gpu.Tensor, kept *AttentionKept, wanted bool) {
	dk, dv := p.New("dk", p.Tokens, a.K.Out), p.New("dv", p.Tokens, a.V.Out)
	dq := make([]*gpu.Tensor, len(p.Chunks))
	for i, c := range p.Chunks {
		k := &kept.chunks[i]
		do := p.New("d attention", c.Tokens, a.O.In)
		a.O.Backward(p.part(i), do, dx[i], k.o, k.uO, w.Linear(a.O.Weight), false)
		dq[i] = p.New("dq", c.Tokens, a.Q.Out)
		stats := p.New("attention statistics", c.Tokens, 2*a.Heads)
		spec := a.spec(p, c)
		spec.Accumulate = i > 0
		kernels.AttentionBackward(p.Rec, dq[i], dk, dv, do, k.q, kept.k, kept.v, k.o, k.lse, stats, spec)
		p.Free(stats, do, k.q, k.o, k.lse)
		kernels.RoPEBackward(p.Rec, dq[i], p.Cos, p.Sin, c.Positions, a.Heads, a.HeadDim)
	}
	p.Free(kept.k, kept.v)
	for i, c := range p.Chunks {
		part, k := p.part(i), &kept.chunks[i]
		dKey, dValue := dk.Slice(c.First, c.Tokens), dv.Slice(c.First, c.Tokens)
		kernels.RoPEBackward(p.Rec, dKey, p.Cos, p.Sin, c.Positions, a.KVHeads, a.HeadDim)
		normed := norm.Forward(p, w, x[i])
		var dNormed *gpu.Tensor
		if wanted {
			dNormed = p.New("dx attention", c.Tokens, a.Q.In)
		}
		a.Q.Backward(part, dNormed, dq[i], normed, k.uQ, w.Linear(a.Q.Weight), false)
		a.K.Backward(part, dNormed, dKey, normed, k.uK, w.Linear(a.K.Weight), true)
		a.V.Backward(part, dNormed, dValue, normed, k.uV, w.Linear(a.V.Weight), true)
		if wanted {
			norm.BackwardAdd(p, w, dx[i], dNormed, x[i])
		}
		p.Free(dNormed, normed, dq[i])
	}
	p.Free(dk, dv)
}
