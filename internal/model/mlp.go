package model

import (
	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// MLP is y = down(silu(gate(x)) · up(x)).
type MLP struct {
	Gate, Up, Down *lora.Linear
}

// MLPKept is what Backward needs of Forward.
type MLPKept struct {
	gate, up          *gpu.Tensor // [T, intermediate]
	uGate, uUp, uDown *gpu.Tensor // LoRA's dropout(x) Aᵀ
}

// Forward returns y [T, C] for the normed x [T, C] of a chunk.
func (m *MLP) Forward(p *Pass, chunk int, w paging.Weights, x *gpu.Tensor) (y *gpu.Tensor, kept *MLPKept) {
	part := p.part(chunk)
	kept, hidden := m.hidden(p, part, w, x)
	y = p.New("mlp output", x.Rows, m.Down.Out)
	kept.uDown = m.Down.Forward(part, y, hidden, w.Linear(m.Down.Weight))
	p.Free(hidden)
	return y, kept
}

// Recompute is Forward without y.
func (m *MLP) Recompute(p *Pass, chunk int, w paging.Weights, x *gpu.Tensor) *MLPKept {
	part := p.part(chunk)
	kept, hidden := m.hidden(p, part, w, x)
	kept.uDown = m.Down.Low(part, hidden)
	p.Free(hidden)
	return kept
}

// hidden is silu(gate(x)) · up(x) [T, intermediate].
func (m *MLP) hidden(p *Pass, part *lora.Pass, w paging.Weights, x *gpu.Tensor) (kept *MLPKept, hidden *gpu.Tensor) {
	T := x.Rows
	kept = &MLPKept{gate: p.New("gate", T, m.Gate.Out), up: p.New("up", T, m.Up.Out)}
	kept.uGate = m.Gate.Forward(part, kept.gate, x, w.Linear(m.Gate.Weight))
	kept.uUp = m.Up.Forward(part, kept.up, x, w.Linear(m.Up.Weight))
	hidden = p.New("mlp hidden", T, m.Down.In)
	kernels.SwiGLUForward(p.Rec, hidden, kept.gate, kept.up)
	return kept, hidden
}

// Release frees what was kept, when no backward follows.
func (k *MLPKept) Release(p *Pass) { p.Free(k.gate, k.up, k.uGate, k.uUp, k.uDown) }

// Backward returns dx [T, C] for dy [T, C] and frees what was kept.
func (m *MLP) Backward(p *Pass, chunk int, w paging.Weights, dy, x *gpu.Tensor, kept *MLPKept) (dx *gpu.Tensor) {
	T, part := x.Rows, p.part(chunk)
	hidden, dHidden := p.New("mlp hidden", T, m.Down.In), p.New("d mlp hidden", T, m.Down.In)
	kernels.SwiGLUForward(p.Rec, hidden, kept.gate, kept.up)
	m.Down.Backward(part, dHidden, dy, hidden, kept.uDown, w.Linear(m.Down.Weight), false)
	p.Free(hidden)
	kernels.SwiGLUBackward(p.Rec, kept.gate, kept.up, dHidden) // gate and up become their gradients
	p.Free(dHidden)
	dx = p.New("dx mlp", T, m.Gate.In)
	m.Gate.Backward(part, dx, kept.gate, x, kept.uGate, w.Linear(m.Gate.Weight), false)
	m.Up.Backward(part, dx, kept.up, x, kept.uUp, w.Linear(m.Up.Weight), true)
	p.Free(kept.gate, kept.up)
	return dx
}
