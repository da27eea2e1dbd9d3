package model

import (
	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// MLP is y = down(act(gate(x)) · up(x)), where act is SiLU or GELU, of a normed x.
type MLP struct {
	Norm           *Norm        // of the input; nil: none
	GateUp         *lora.Linear // in the place of Gate and Up, whose outputs it has in this order
	Gate, Up, Down *lora.Linear
	GELU           bool
}

// MLPKept is what Backward needs of Forward.
type MLPKept struct {
	gate, up          *gpu.Tensor // [T, intermediate]
	uGate, uUp, uDown *gpu.Tensor // LoRA's dropout(x) Aᵀ; uGate is GateUp's
}

// Forward returns y [T, C] for x [T, C] of a chunk.
func (m *MLP) Forward(p *Pass, chunk int, w paging.Weights, x *gpu.Tensor) (y *gpu.Tensor, kept *MLPKept) {
	normed := m.Norm.before(p, w, x)
	y, kept = m.of(p, chunk, w, normed)
	m.Norm.free(p, normed)
	return y, kept
}

// of is Forward for the normed x.
func (m *MLP) of(p *Pass, chunk int, w paging.Weights, x *gpu.Tensor) (y *gpu.Tensor, kept *MLPKept) {
	part := p.part(chunk)
	kept, hidden := m.hidden(p, part, w, x)
	y = p.New("mlp output", x.Rows, m.Down.Out)
	kept.uDown = m.Down.Forward(part, y, hidden, w.Linear(m.Down.Weight))
	p.Free(hidden)
	return y, kept
}

// Recompute is what Forward keeps, of the normed x, without y.
func (m *MLP) Recompute(p *Pass, chunk int, w paging.Weights, x *gpu.Tensor) *MLPKept {
	part := p.part(chunk)
	kept, hidden := m.hidden(p, part, w, x)
	kept.uDown = m.Down.Low(part, hidden)
	p.Free(hidden)
	return kept
}

// hidden is act(gate(x)) · up(x) [T, intermediate].
func (m *MLP) hidden(p *Pass, part *lora.Pass, w paging.Weights, x *gpu.Tensor) (kept *MLPKept, hidden *gpu.Tensor) {
	T, F := x.Rows, m.Down.In
	kept = &MLPKept{gate: p.New("gate", T, F), up: p.New("up", T, F)}
	if m.GateUp != nil {
		both := p.New("gate and up", T, 2*F)
		kept.uGate = m.GateUp.Forward(part, both, x, w.Linear(m.GateUp.Weight))
		kernels.SplitColumns(p.Rec, kept.gate, both, 0)
		kernels.SplitColumns(p.Rec, kept.up, both, F)
		p.Free(both)
	} else {
		kept.uGate = m.Gate.Forward(part, kept.gate, x, w.Linear(m.Gate.Weight))
		kept.uUp = m.Up.Forward(part, kept.up, x, w.Linear(m.Up.Weight))
	}
	hidden = p.New("mlp hidden", T, F)
	m.activate(p, hidden, kept)
	return kept, hidden
}

func (m *MLP) activate(p *Pass, hidden *gpu.Tensor, kept *MLPKept) {
	if m.GELU {
		kernels.GEGLUForward(p.Rec, hidden, kept.gate, kept.up)
	} else {
		kernels.SwiGLUForward(p.Rec, hidden, kept.gate, kept.up)
	}
}

// Release frees what was kept, when no backward follows.
func (k *MLPKept) Release(p *Pass) { p.Free(k.gate, k.up, k.uGate, k.uUp, k.uDown) }

// Backward returns the gradient [T, C] of the normed x [T, C] for dy [T, C] and frees what was kept.
func (m *MLP) Backward(p *Pass, chunk int, w paging.Weights, dy, x *gpu.Tensor, kept *MLPKept) (dx *gpu.Tensor) {
	T, F, part := x.Rows, m.Down.In, p.part(chunk)
	hidden, dHidden := p.New("mlp hidden", T, F), p.New("d mlp hidden", T, F)
	m.activate(p, hidden, kept)
	m.Down.Backward(part, dHidden, dy, hidden, kept.uDown, w.Linear(m.Down.Weight), false)
	p.Free(hidden)
	if m.GELU { // gate and up become their gradients
		kernels.GEGLUBackward(p.Rec, kept.gate, kept.up, dHidden)
	} else {
		kernels.SwiGLUBackward(p.Rec, kept.gate, kept.up, dHidden)
	}
	p.Free(dHidden)
	dx = p.New("dx mlp", T, m.Down.Out)
	if m.GateUp != nil {
		both := p.New("d gate and up", T, 2*F)
		kernels.JoinColumns(p.Rec, both, kept.gate, 0)
		kernels.JoinColumns(p.Rec, both, kept.up, F)
		m.GateUp.Backward(part, dx, both, x, kept.uGate, w.Linear(m.GateUp.Weight), false)
		p.Free(both)
	} else {
		m.Gate.Backward(part, dx, kept.gate, x, kept.uGate, w.Linear(m.Gate.Weight), false)
		m.Up.Backward(part, dx, kept.up, x, kept.uUp, w.Linear(m.Up.Weight), true)
	}
	p.Free(kept.gate, kept.up)
	return dx
}
