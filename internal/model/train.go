package model

import (
	"qlora-wgpu/gpu"
	"qlora-wgpu/paging"
)

// Train records forward and backward of a pass: losses into p.Stats, gradients into the adapter's state. What was not
// kept is computed again in the layer's backward, by the same kernels; where p.Kept is F32 on the same inputs, so no
// bit changes.
func (m *Model) Train(p *Pass, activations paging.Activations) {
	keepMLP := activations == paging.Keep
	keepAttention := keepMLP || activations == paging.Selective
	inputs, all := make([][]*gpu.Tensor, len(m.layers)), make([]kept, len(m.layers))
	x := m.embedTokens(p)
	for i, l := range m.layers {
		inputs[i] = x
		x, all[i] = l.forward(p, l.weights.Use(p.Rec), x, keepAttention, keepMLP)
		replaceAll(inputs[i], p.Store)
		if activations == paging.Offload {
			m.offload(p, i, inputs[i])
		}
		if keepAttention {
			all[i].each(p.Store)
		}
	}
	dx := m.head.Loss(p, m.norm.Use(p.Rec), x, true)
	for i := len(m.layers) - 1; i >= 0; i-- {
		l, x := m.layers[i], inputs[i]
		if activations == paging.Offload {
			x = m.fetch(p, i)
		}
		replaceAll(x, p.Load)
		w := l.weights.Use(p.Rec)
		if keepAttention {
			all[i].each(p.Load)
		} else {
			all[i] = l.attend(p, w, x)
		}
		l.backward(p, w, dx, x, all[i], i > 0)
		p.Free(x...)
	}
	p.Free(dx...)
}

// each replaces every tensor that was kept.
func (k *kept) each(replace func(*gpu.Tensor) *gpu.Tensor) {
	for _, list := range [][]*gpu.Tensor{k.middle, k.attended, k.out} {
		replaceAll(list, replace)
	}
	k.attention.Each(replace)
	for _, mlp := range k.mlp {
		mlp.Each(replace)
	}
}

func replaceAll(tensors []*gpu.Tensor, replace func(*gpu.Tensor) *gpu.Tensor) {
	for i, t := range tensors {
		tensors[i] = replace(t)
	}
}

// offload moves a layer's stored input to the host, and fetch brings it back.
func (m *Model) offload(p *Pass, layer int, stored []*gpu.Tensor) {
	for i, part := range stored {
		m.store.Keep(p.Rec, layer*len(stored)+i, part)
	}
	p.Free(stored...)
}

func (m *Model) fetch(p *Pass, layer int) (stored []*gpu.Tensor) {
	for i, c := range p.Chunks {
		part := p.Arena.New("layer input", p.Kept, c.Tokens, m.spec.Hidden)
		m.store.Fetch(p.Rec, layer*len(p.Chunks)+i, part)
		stored = append(stored, part)
	}
	return stored
}
