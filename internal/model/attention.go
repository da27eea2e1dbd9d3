package model

import (
	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// Attention is causal self-attention with grouped keys and values and rotary positions.
type Attention struct {
	Q, K, V, O              *lora.Linear
	Heads, KVHeads, HeadDim int
	Scale                   float32
}

// AttentionKept is what Backward needs of Forward: q and k are rotated, o is before the output projection.
type AttentionKept struct {
	q, k, v, o, lse *gpu.Tensor
	uQ, uK, uV, uO  *gpu.Tensor // LoRA's dropout(x) Aᵀ
}

func (a *Attention) spec(p *Pass) kernels.Attention {
	return kernels.Attention{
		Heads: a.Heads, KVHeads: a.KVHeads, HeadDim: a.HeadDim, Scale: a.Scale, FirstKey: p.FirstKey, LastQuery: p.LastQuery,
	}
}

// Forward returns y [T, C] for the normed x [T, C].
func (a *Attention) Forward(p *Pass, w paging.Weights, x *gpu.Tensor) (y *gpu.Tensor, kept *AttentionKept) {
	T := x.Rows
	kept = &AttentionKept{q: p.New("q", T, a.Q.Out), k: p.New("k", T, a.K.Out), v: p.New("v", T, a.V.Out)}
	kept.uQ = a.Q.Forward(&p.Pass, kept.q, x, w.Linear(a.Q.Weight))
	kept.uK = a.K.Forward(&p.Pass, kept.k, x, w.Linear(a.K.Weight))
	kept.uV = a.V.Forward(&p.Pass, kept.v, x, w.Linear(a.V.Weight))
	kernels.RoPEForward(p.Rec, kept.q, p.Cos, p.Sin, p.Positions, a.Heads, a.HeadDim)
	kernels.RoPEForward(p.Rec, kept.k, p.Cos, p.Sin, p.Positions, a.KVHeads, a.HeadDim)
	kept.o, kept.lse = p.New("attention", T, a.Q.Out), p.New("lse", T, a.Heads)
	spec, keys, values := a.spec(p), kept.k, kept.v
	if p.Cache != nil {
		keys, values = p.Cache.K[p.Layer], p.Cache.V[p.Layer]
		appendRows(p.Rec, keys, kept.k, p.Cache.Length)
		appendRows(p.Rec, values, kept.v, p.Cache.Length)
		spec.QueryOffset = p.Cache.Length
	}
	kernels.AttentionForward(p.Rec, kept.o, kept.lse, kept.q, keys, values, spec)
	y = p.New("attention output", T, a.O.Out)
	kept.uO = a.O.Forward(&p.Pass, y, kept.o, w.Linear(a.O.Weight))
	return y, kept
}

// appendRows copies src's rows into the cache from row `at` on.
func appendRows(rec *gpu.Recorder, cache, src *gpu.Tensor, at int) {
	from, to := src.Single(), cache.Single()
	size := src.Bytes()
	rec.Copy(gpu.Range{Buffer: to.Buffer, Offset: to.Offset + int64(at*src.Cols)*4, Size: size}, gpu.Range{Buffer: from.Buffer, Offset: from.Offset, Size: size})
}

// Release frees what was kept, when no backward follows.
func (k *AttentionKept) Release(p *Pass) {
	p.Free(k.q, k.k, k.v, k.o, k.lse, k.uQ, k.uK, k.uV, k.uO)
}

// Backward returns dx [T, C] for dy [T, C], or nil unless wanted, and frees what was kept.
func (a *Attention) Backward(p *Pass, w paging.Weights, dy, x *gpu.Tensor, kept *AttentionKept, wanted bool) (dx *gpu.Tensor) {
	T := x.Rows
	do := p.New("d attention", T, a.O.In)
	a.O.Backward(&p.Pass, do, dy, kept.o, kept.uO, w.Linear(a.O.Weight), false)
	dq, dk, dv := p.New("dq", T, a.Q.Out), p.New("dk", T, a.K.Out), p.New("dv", T, a.V.Out)
	stats := p.New("attention statistics", T, 2*a.Heads)
	kernels.AttentionBackward(p.Rec, dq, dk, dv, do, kept.q, kept.k, kept.v, kept.o, kept.lse, stats, a.spec(p))
	p.Free(stats, do, kept.q, kept.k, kept.v, kept.o, kept.lse)
	kernels.RoPEBackward(p.Rec, dq, p.Cos, p.Sin, p.Positions, a.Heads, a.HeadDim)
	kernels.RoPEBackward(p.Rec, dk, p.Cos, p.Sin, p.Positions, a.KVHeads, a.HeadDim)
	if wanted {
		dx = p.New("dx attention", T, a.Q.In)
	}
	a.Q.Backward(&p.Pass, dx, dq, x, kept.uQ, w.Linear(a.Q.Weight), false)
	p.Free(dq)
	a.K.Backward(&p.Pass, dx, dk, x, kept.uK, w.Linear(a.K.Weight), true)
	p.Free(dk)
	a.V.Backward(&p.Pass, dx, dv, x, kept.uV, w.Linear(a.V.Weight), true)
	p.Free(dv)
	return dx
}
