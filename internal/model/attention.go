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
	Norm                    *Norm        // of the input; nil: none
	QKV                     *lora.Linear // in the place of Q, K and V, whose outputs it has in this order
	Q, K, V, O              *lora.Linear
	QNorm, KNorm            *Norm // before the rotation; nil: none
	WholeWidth              bool  // they norm all heads of a token at once
	Rotary                  int   // which of the model's rotary embeddings; -1: nothing rotates
	Heads, KVHeads, HeadDim int
	Scale, SoftCap          float32
	Window                  int // how many tokens a query sees, itself among them; 0: all of its sequence
}

// AttentionKept is what Backward needs of Forward: q and k as attention reads them, or, where they are normed, as the
// projections gave them, of which the rest is quickly made again; o is before the output projection.
type AttentionKept struct {
	k, v   *gpu.Tensor
	chunks []attentionChunk
}

type attentionChunk struct {
	q, o, lse      *gpu.Tensor
	uQ, uK, uV, uO *gpu.Tensor // LoRA's dropout(x) Aᵀ; uQ is QKV's
}

func (a *Attention) spec(p *Pass, chunk int) kernels.Attention {
	seen := p.within(a.Window)
	return kernels.Attention{
		Heads: a.Heads, KVHeads: a.KVHeads, HeadDim: a.HeadDim, Scale: a.Scale, SoftCap: a.SoftCap,
		FirstKey: seen.firstKey[chunk], LastQuery: seen.lastQuery, QueryOffset: p.Chunks[chunk].First, Window: a.Window,
	}
}

// wide and narrow are the widths of queries, and of keys or values.
func (a *Attention) wide() int   { return a.Heads * a.HeadDim }
func (a *Attention) narrow() int { return a.KVHeads * a.HeadDim }

// Forward gives, chunk after chunk, y [T, C] for norm(x), x [T, C], to add, which frees it. What is kept may be freed
// with Release.
func (a *Attention) Forward(p *Pass, w paging.Weights, x []*gpu.Tensor, add func(chunk int, y *gpu.Tensor)) (kept *AttentionKept) {
	kept = &AttentionKept{chunks: make([]attentionChunk, len(p.Chunks))}
	kept.k, kept.v = p.New("k", p.Tokens, a.narrow()), p.New("v", p.Tokens, a.narrow())
	queries, turned := make([]*gpu.Tensor, len(p.Chunks)), a.beside(p, kept.k)
	for i, c := range p.Chunks {
		k, key, value := &kept.chunks[i], c.of(kept.k), c.of(kept.v)
		normed := a.Norm.before(p, w, x[i])
		k.q = p.New("q", c.Tokens, a.wide())
		a.project(p.part(i), p, w, normed, key, value, k)
		a.Norm.free(p, normed)
		queries[i] = a.beside(p, k.q)
		a.queryHeads().turn(p, w, queries[i], k.q, c.Positions)
		a.keyHeads().turn(p, w, c.of(turned), key, c.Positions)
	}
	for i, c := range p.Chunks {
		k := &kept.chunks[i]
		k.o, k.lse = p.New("attention", c.Tokens, a.wide()), p.New("lse", c.Tokens, a.Heads)
		spec, keys, values := a.spec(p, i), turned, kept.v
		if p.Cache != nil { // and a single chunk
			keys, values = p.Cache.append(p, turned, kept.v)
			spec.QueryOffset = p.Cache.rows(p.Layer)
		}
		kernels.AttentionForward(p.Rec, spec, kernels.AttentionTensors{Q: queries[i], K: keys, V: values, O: k.o, LSE: k.lse})
		if a.QNorm != nil {
			p.Free(queries[i])
		}
		y := p.New("attention output", c.Tokens, a.O.Out)
		k.uO = a.O.Forward(p.part(i), y, k.o, w.Linear(a.O.Weight))
		add(i, y)
	}
	if a.KNorm != nil {
		p.Free(turned)
	}
	return kept
}

// project makes queries, keys and values of the normed x of a chunk.
func (a *Attention) project(part *lora.Pass, p *Pass, w paging.Weights, x, key, value *gpu.Tensor, k *attentionChunk) {
	if a.QKV == nil {
		k.uQ = a.Q.Forward(part, k.q, x, w.Linear(a.Q.Weight))
		k.uK = a.K.Forward(part, key, x, w.Linear(a.K.Weight))
		k.uV = a.V.Forward(part, value, x, w.Linear(a.V.Weight))
		return
	}
	all := p.New("qkv", x.Rows, a.QKV.Out)
	k.uQ = a.QKV.Forward(part, all, x, w.Linear(a.QKV.Weight))
	kernels.SplitColumns(p.Rec, k.q, all, 0)
	kernels.SplitColumns(p.Rec, key, all, a.wide())
	kernels.SplitColumns(p.Rec, value, all, a.wide()+a.narrow())
	p.Free(all)
}

// beside is where turn puts what it makes of a projection x [T, heads·D]: x itself, unless it is normed.
func (a *Attention) beside(p *Pass, x *gpu.Tensor) *gpu.Tensor {
	if a.QNorm == nil {
		return x
	}
	return p.New(x.Name+" normed", x.Rows, x.Cols)
}

// heads are those of the queries or of the keys: count of dim columns each, with a norm (nil: none) over so many
// columns and a rotary embedding.
type heads struct {
	norm                       *Norm
	count, dim, normed, rotary int
	queries                    bool
}

func (a *Attention) queryHeads() heads { return a.heads(a.QNorm, a.Heads, true) }
func (a *Attention) keyHeads() heads   { return a.heads(a.KNorm, a.KVHeads, false) }

func (a *Attention) heads(norm *Norm, count int, queries bool) heads {
	h := heads{norm, count, a.HeadDim, a.HeadDim, a.Rotary, queries}
	if a.WholeWidth {
		h.normed = count * a.HeadDim
	}
	return h
}

// rope is the rotation of tokens at these positions.
func (h heads) rope(p *Pass, positions *gpu.Tensor) kernels.RoPE {
	t := p.Rotary[h.rotary].Keys
	if h.queries {
		t = p.Rotary[h.rotary].Queries
	}
	return kernels.RoPE{Cos: t.Cos, Sin: t.Sin, Positions: positions, Heads: h.count, HeadDim: h.dim}
}

// turn makes y of a projection x, both [T, heads·D]: heads are normed, where they are, and rotated.
func (h heads) turn(p *Pass, w paging.Weights, y, x, positions *gpu.Tensor) {
	if h.norm != nil {
		h.norm.headsForward(p, w, y, x, h.normed)
	}
	if h.rotary >= 0 {
		kernels.RoPEForward(p.Rec, y, h.rope(p, positions))
	}
}

// turnBack is the gradient of a projection x for dy of what turn made of it, all [T, heads·D]; dy is overwritten, and
// is the result where heads are not normed.
func (h heads) turnBack(p *Pass, w paging.Weights, dy, x, positions *gpu.Tensor) *gpu.Tensor {
	if h.rotary >= 0 {
		kernels.RoPEBackward(p.Rec, dy, h.rope(p, positions))
	}
	if h.norm == nil {
		return dy
	}
	dx := p.New(dy.Name+" projection", dy.Rows, dy.Cols)
	h.norm.headsBackward(p, w, dx, dy, x, h.normed)
	return dx
}

// Release frees what was kept, when no backward follows.
func (k *AttentionKept) Release(p *Pass) {
	p.Free(k.k, k.v)
	for _, c := range k.chunks {
		p.Free(c.q, c.o, c.lse, c.uQ, c.uK, c.uV, c.uO)
	}
}

// Backward adds to dx [T, C] the gradient of x for dy of Forward's y, unless it is not wanted, and frees what was kept.
// dy may be dx.
func (a *Attention) Backward(p *Pass, w paging.Weights, dx, dy, x []*gpu.Tensor, kept *AttentionKept, wanted bool) {
	dk, dv := p.New("dk", p.Tokens, a.narrow()), p.New("dv", p.Tokens, a.narrow())
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
		a.O.Backward(p.part(i), do, dy[i], k.o, k.uO, w.Linear(a.O.Weight), false)
		dq[i] = p.New("dq", c.Tokens, a.wide())
		stats := p.New("attention statistics", c.Tokens, 2*a.Heads)
		spec := a.spec(p, i)
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
		dValue := c.of(dv)
		dKey := a.keyHeads().turnBack(p, w, c.of(dk), c.of(kept.k), c.Positions)
		normed := a.Norm.before(p, w, x[i])
		var dNormed *gpu.Tensor
		if wanted {
			dNormed = p.New("dx attention", c.Tokens, a.O.Out)
		}
		a.projectBack(p.part(i), p, w, dNormed, normed, dq[i], dKey, dValue, &kept.chunks[i])
		if wanted {
			dx[i] = a.Norm.addBack(p, w, dx[i], dNormed, x[i])
		}
		p.Free(dNormed)
		a.Norm.free(p, normed)
		p.Free(dq[i])
		if a.KNorm != nil {
			p.Free(dKey)
		}
	}
	if a.KNorm != nil {
		p.Free(kept.k)
	}
	p.Free(dk, dv)
}

// projectBack makes dx (nil: not wanted) for the gradients of queries, keys and values, and adds to those of the
// adapters.
func (a *Attention) projectBack(part *lora.Pass, p *Pass, w paging.Weights, dx, x, dq, dk, dv *gpu.Tensor, k *attentionChunk) {
	if a.QKV == nil {
		a.Q.Backward(part, dx, dq, x, k.uQ, w.Linear(a.Q.Weight), false)
		a.K.Backward(part, dx, dk, x, k.uK, w.Linear(a.K.Weight), true)
		a.V.Backward(part, dx, dv, x, k.uV, w.Linear(a.V.Weight), true)
		return
	}
	all := p.New("d qkv", x.Rows, a.QKV.Out)
	kernels.JoinColumns(p.Rec, all, dq, 0)
	kernels.JoinColumns(p.Rec, all, dk, a.wide())
	kernels.JoinColumns(p.Rec, all, dv, a.wide()+a.narrow())
	a.QKV.Backward(part, dx, all, x, k.uQ, w.Linear(a.QKV.Weight), false)
	p.Free(all)
}
