package model

import (
	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
)

// Store makes of x [T, C] what is kept of it until the backward: itself, or a copy in bfloat16, and then x is freed.
// nil stays nil.
//
// Only what is kept is rounded. The forward pass has used x itself, so its losses are those without rounding; gradients
// and the residual stream stay float32.
func (p *Pass) Store(x *gpu.Tensor) *gpu.Tensor {
	if x == nil || p.Kept == gpu.F32 {
		return x
	}
	y := p.Arena.New(x.Name, p.Kept, x.Rows, x.Cols)
	kernels.PackBF16(p.Rec, y, x)
	p.Free(x)
	return y
}

// Load makes of what Store returned the float32 [T, C] that the backward reads, and frees what was stored. All layers'
// copies have the same places in the arena, one after the other.
func (p *Pass) Load(stored *gpu.Tensor) *gpu.Tensor {
	if stored == nil || p.Kept == gpu.F32 {
		return stored
	}
	x := p.New(stored.Name, stored.Rows, stored.Cols)
	kernels.UnpackBF16(p.Rec, x, stored)
	p.Free(stored)
	return x
}

// Each replaces every tensor that was kept, but for the log-sum-exp: it is an exponent, in which rounding by 2⁻⁹ of it
// would be far too much.
func (k *AttentionKept) Each(replace func(*gpu.Tensor) *gpu.Tensor) {
	k.k, k.v = replace(k.k), replace(k.v)
	for i := range k.chunks {
		c := &k.chunks[i]
		for _, t := range []**gpu.Tensor{&c.q, &c.o, &c.uQ, &c.uK, &c.uV, &c.uO} {
			*t = replace(*t)
		}
	}
}

// Each replaces every tensor that was kept.
func (k *MLPKept) Each(replace func(*gpu.Tensor) *gpu.Tensor) {
	for _, t := range []**gpu.Tensor{&k.gate, &k.up, &k.uGate, &k.uUp, &k.uDown} {
		*t = replace(*t)
	}
}
