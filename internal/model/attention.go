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
	QNorm, KNorm            *Norm // of every head, before the rotation; nil: none
	Heads, KVHeads, HeadDim int
	Scale                   float32
}

// AttentionKept is what Backward needs of Forward: q and k as attention reads them, or, where their heads are normed,
// as the projections gave them, of which the rest is quickly made again; o is before the output projection.
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

// rope is the rotation of so many heads of tokens at these positions.
func (p *Pass) rope(positions *gpu.Tensor, heads, headDim int) kernels.RoPE {
	return kernels.RoPE{Cos: p.Cos, Sin: p.Sin, Positions: positions, Heads: heads, HeadDim: headDim}
}

// Forward gives, chunk after chunk, y [T, C] for norm(x), x [T, C], to add. What is kept may be freed with Release.
func (a *Attention) Forward(
	p *Pass, w paging.Weights, norm Norm, x []*gpu.Tensor, add func(chunk int, y *gpu.Tensor),
) (kept *AttentionKept) {
	kept = &AttentionKept{k: p.New("k", p.Tokens, a.K.Out), v: p.New("v", p.Tokens, a.V.Out), chunks: make([]attentionChunk, len(p.Chunks))}
	queries, turned := make([]*gpu.Tensor, len(p.Chunks)), a.beside(p, kept.k)
	for i, c := range p.Chunks {
		part, k := p.part(i), &kept.chunks[i]
		normed := norm.Forward(p, w, x[i])
		key, value := c.of(kept.k), c.of(kept.v)
		k.q = p.New("q", c.Tokens, a.Q.Out)
		k.uQ = a.Q.Forward(part, k.q, normed, w.Linear(a.Q.Weight))
		k.uK = a.K.Forward(part, key, normed, w.Linear(a.K.Weight))
		k.uV = a.V.Forward(part, value, normed, w.Linear(a.V.Weight))
		p.Free(normed)
		queries[i] = a.beside(p, k.q)
		a.queryHeads().turn(p, w, queries[i], k.q, c.Positions)
		a.keyHeads().turn(p, w, c.of(turned), key, c.Positions)
	}
	for i, c := range p.Chunks {
		k := &kept.chunks[i]
		k.o, k.lse = p.New("attention", c.Tokens, a.Q.Out), p.New("lse", c.Tokens, a.Heads)
		spec, keys, values := a.spec(p, c), turned, kept.v
		if p.Cache != nil { // and a single chunk
			keys, values = p.Cache.K[p.Layer], p.Cache.V[p.Layer]
			appendRows(p.Rec, keys, turned, p.Cache.Length)
			appendRows(p.Rec, values, kept.v, p.Cache.Length)
			spec.QueryOffset = p.Cache.Length
		}
		kernels.AttentionForward(p.Rec, spec, kernels.AttentionTensors{Q: queries[i], K: keys, V: values, O: k.o, LSE: k.lse})
		if a.QNorm != nil {
			p.Free(queries[i])
		}
		y := p.New("attention output", c.Tokens, a.O.Out)
		k.uO = a.O.Forward(p.part(i), y, k.o, w.Linear(a.O.Weight))
		add(i, y)
		p.Free(y)
	}
	if a.KNorm != nil {
		p.Free(turned)
	}
	return kept
}

// beside is where turn puts what it makes of a projection x [T, heads·D]: x itself, unless heads are normed.
func (a *Attention) beside(p *Pass, x *gpu.Tensor) *gpu.Tensor {
	if a.QNorm == nil {
		return x
	}
	return p.New(x.Name+" normed", x.Rows, x.Cols)
}

// heads are those of the queries or of the keys: count of dim columns each, with a norm (nil: none).
type heads struct {
	norm       *Norm
	count, dim int
}

func (a *Attention) queryHeads() heads { return heads{a.QNorm, a.Heads, a.HeadDim} }
func (a *Attention) keyHeads() heads   { return heads{a.KNorm, a.KVHeads, a.HeadDim} }

// turn makes y of a projection x, both [T, heads·D]: heads are normed, where they are, and rotated.
func (h heads) turn(p *Pass, w paging.Weights, y, x, positions *gpu.Tensor) {
	if h.norm != nil {
		h.norm.headsForward(p, w, y, x, h.dim)
	}
	kernels.RoPEForward(p.Rec, y, p.rope(positions, h.count, h.dim))
}

// turnBack is the gradient of a projection x for dy of what turn made of it, all [T, heads·D]; dy is overwritten, and
// is the result where heads are not normed.
func (h heads) turnBack(p *Pass, w paging.Weights, dy, x, positions *gpu.Tensor) *gpu.Tensor {
	kernels.RoPEBackward(p.Rec, dy, p.rope(positions, h.count, h.dim))
	if h.norm == nil {
		return dy
	}
	dx := p.New(dy.Name+" projection", dy.Rows, dy.Cols)
	h.norm.headsBackward(p, w, dx, dy, x, h.dim)
	return dx
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
	keys := a.beside(p, kept.k)
	if a.KNorm != nil {
		for _, c := range p.Chunks {
			a.keyHeads().turn(p, w, c.of(keys), c.of(kept.k), c.Positions)
		}
	}
	for i, c := range p.Chunks {
		k := &kept.chunks[i]
		do := p.New("d attention", c.Tokens, a.O.In)
		a.O.Backward(p.part(i), do, dx[i], k.o, k.uO, w.Linear(a.O.Weight), false)
		dq[i] = p.New("dq", c.Tokens, a.Q.Out)
		stats := p.New("attention statistics", c.Tokens, 2*a.Heads)
		spec := a.spec(p, c)
		spec.Accumulate = i > 0
		queries := a.beside(p, k.q)
		if a.QNorm != nil {
			a.queryHeads().turn(p, w, queries, k.q, c.Positions)
		}
		kernels.AttentionBackward(p.Rec, spec, kernels.AttentionTensors{
			Q: queries, K: keys, V: kept.v, O: k.o, LSE: k.lse, DO: do, DQ: dq[i], DK: dk, DV: dv, Stats: stats,
		})
		p.Free(stats, do, queries, k.o, k.lse)
		dTurned := dq[i]
		if dq[i] = a.queryHeads().turnBack(p, w, dTurned, k.q, c.Positions); a.QNorm != nil {
			p.Free(dTurned, k.q)
		}
	}
	p.Free(keys, kept.v)
	for i, c := range p.Chunks {
		part, k := p.part(i), &kept.chunks[i]
		dValue := c.of(dv)
		dKey := a.keyHeads().turnBack(p, w, c.of(dk), c.of(kept.k), c.Positions)
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
		if a.KNorm != nil {
			p.Free(dKey)
		}
	}
	if a.KNorm != nil {
		p.Free(kept.k)
	}
	p.Free(dk, dv)
}
