// Package lora is the linear with an adapter: y = x Wᵀ + s · dropout(x) Aᵀ Bᵀ with W frozen, in whatever format, and
// only A and B trained, and the adapter's files in PEFT's format. Sources: LoRA, arXiv 2106.09685; QLoRA, arXiv
// 2305.14314, equation 5; rsLoRA, arXiv 2312.03732.
package lora

import (
	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/frozen"
	"qlora-wgpu/internal/kernels"
)

// Linear is one linear of the model, with an adapter or without.
type Linear struct {
	Name    string // as PEFT names it: "model.layers.0.self_attn.q_proj"
	Weight  string // its name within the layer's region: "self_attn.q_proj"
	In, Out int

	// A [rank, In] and B [Out, rank], DA and DB their gradients; nil where the linear is no target. The rank is
	// padded to a multiple of 4 with zeros, which stay zero: neither their gradient nor their decay ever differs from
	// it.
	A, B, DA, DB *gpu.Tensor
	Rank         int // without padding
	Scaling      float32
	// Index numbers the model's linears, so that each has a dropout mask of its own.
	Index int
}

// Pass is what a linear needs of the pass over a micro-batch.
type Pass struct {
	Rec   *gpu.Recorder
	Arena *gpu.Arena
	// Dropout is the probability in this pass (0 outside training), Key selects the micro-batch's masks.
	Dropout float32
	Key     kernels.DropoutKey
	// Chunk numbers the token chunks of a micro-batch, so that each has a dropout mask of its own.
	Chunk int
	// Bare leaves the adapter out: only the frozen weights compute. Such a pass takes the same tensors of the arena as
	// another, so that a program's layout serves both. It has no backward.
	Bare bool
}

func (p *Pass) key(l *Linear) kernels.DropoutKey {
	return kernels.DropoutKey{K0: p.Key.K0 + uint32(p.Chunk)*0x9e3779b9, K1: p.Key.K1 + uint32(l.Index)}
}

// Forward records y [T, Out] from x [T, In] and returns u = dropout(x) Aᵀ [T, rank], which Backward needs (nil
// without an adapter).
func (l *Linear) Forward(p *Pass, y, x *gpu.Tensor, w frozen.Linear) (u *gpu.Tensor) {
	w.Forward(p.Rec, y, x)
	if u = l.Low(p, x); u != nil && !p.Bare {
		kernels.MatmulForward(p.Rec, y, u, l.B, l.Scaling, true)
	}
	return u
}

// Low records u alone, where y is not wanted again.
func (l *Linear) Low(p *Pass, x *gpu.Tensor) (u *gpu.Tensor) {
	if l.A == nil {
		return nil
	}
	u = p.Arena.New("lora u", gpu.F32, x.Rows, l.A.Rows)
	if p.Bare {
		return u
	}
	l.withDropped(p, x, func(dropped *gpu.Tensor) { kernels.MatmulForward(p.Rec, u, dropped, l.A, 1, false) })
	return u
}

// withDropped calls f with dropout(x); the mask is recomputed from its key wherever it is needed.
func (l *Linear) withDropped(p *Pass, x *gpu.Tensor, f func(*gpu.Tensor)) {
	if p.Dropout == 0 {
		f(x)
		return
	}
	dropped := p.Arena.New("lora dropped", gpu.F32, x.Rows, x.Cols)
	kernels.DropoutForward(p.Rec, dropped, x, p.key(l), p.Dropout)
	f(dropped)
	p.Arena.Free(dropped)
}

// Backward records DA += and DB += for dy [T, Out], and, unless dx is nil, dx [T, In] = or += the gradient of the
// input. u comes from Forward and is freed.
func (l *Linear) Backward(p *Pass, dx, dy, x, u *gpu.Tensor, w frozen.Linear, accumulate bool) {
	if dx != nil {
		w.Backward(p.Rec, dx, dy, accumulate)
	}
	if l.A == nil {
		return
	}
	kernels.MatmulGradient(p.Rec, l.DB, dy, u, l.Scaling)
	du := p.Arena.New("lora du", gpu.F32, x.Rows, l.A.Rows)
	kernels.MatmulBackward(p.Rec, du, dy, l.B, l.Scaling, false)
	l.withDropped(p, x, func(dropped *gpu.Tensor) { kernels.MatmulGradient(p.Rec, l.DA, du, dropped, 1) })
	if dx != nil {
		l.addInputGradient(p, dx, du)
	}
	p.Arena.Free(du, u)
}

func (l *Linear) addInputGradient(p *Pass, dx, du *gpu.Tensor) {
	if p.Dropout == 0 {
		kernels.MatmulBackward(p.Rec, dx, du, l.A, 1, true)
		return
	}
	through := p.Arena.New("lora dx", gpu.F32, dx.Rows, dx.Cols)
	kernels.MatmulBackward(p.Rec, through, du, l.A, 1, false)
	kernels.DropoutBackwardAdd(p.Rec, dx, through, p.key(l), p.Dropout)
	p.Arena.Free(through)
}
