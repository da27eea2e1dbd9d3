// Package llama is the Llama architecture: pre-norm decoder layers of grouped-query attention with rotary positions and a SwiGLU MLP.
// Source: transformers' modeling_llama.py, whose tensor names it uses.
package llama

import (
	"math"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// Model is a loaded Llama with frozen weights on a device.
type Model struct {
	config config
	dev    *gpu.Device
	store  *paging.Store
	layers []*layer
	norm   *paging.Handle // the final norm's weight
	embed  *paging.Table  // [V, C]
	head   model.Head
	cos    *gpu.Tensor
	sin    *gpu.Tensor
}

// layer is one decoder layer; its frozen weights are reached through a handle.
type layer struct {
	weights                      *paging.Handle
	inputNorm, postAttentionNorm model.Norm
	attention                    model.Attention
	mlp                          model.MLP
}

// kept is what a layer's backward needs.
type kept struct {
	normed, middle, normed2 *gpu.Tensor
	attention               *model.AttentionKept
	mlp                     *model.MLPKept
}

func newLayer(c config, index int) *layer {
	prefix := layerPrefix(index)
	linear := func(n int, name string, in, out int) *lora.Linear {
		return &lora.Linear{Name: prefix + name, Weight: name, In: in, Out: out, Index: 7*index + n}
	}
	q, kv := c.NumAttentionHeads*c.HeadDim, c.NumKeyValueHeads*c.HeadDim
	eps := float32(c.RMSNormEps)
	return &layer{
		inputNorm:         model.Norm{Weight: "input_layernorm", Eps: eps},
		postAttentionNorm: model.Norm{Weight: "post_attention_layernorm", Eps: eps},
		attention: model.Attention{
			Q: linear(0, "self_attn.q_proj", c.HiddenSize, q), K: linear(1, "self_attn.k_proj", c.HiddenSize, kv),
			V: linear(2, "self_attn.v_proj", c.HiddenSize, kv), O: linear(3, "self_attn.o_proj", q, c.HiddenSize),
			Heads: c.NumAttentionHeads, KVHeads: c.NumKeyValueHeads, HeadDim: c.HeadDim, Scale: float32(1 / math.Sqrt(float64(c.HeadDim))),
		},
		mlp: model.MLP{
			Gate: linear(4, "mlp.gate_proj", c.HiddenSize, c.IntermediateSize), Up: linear(5, "mlp.up_proj", c.HiddenSize, c.IntermediateSize),
			Down: linear(6, "mlp.down_proj", c.IntermediateSize, c.HiddenSize),
		},
	}
}

func (l *layer) linears() []*lora.Linear {
	a, m := &l.attention, &l.mlp
	return []*lora.Linear{a.Q, a.K, a.V, a.O, m.Gate, m.Up, m.Down}
}

// forward returns the layer's output for x [T, C]; x stays.
func (l *layer) forward(p *model.Pass, w paging.Weights, x *gpu.Tensor) (y *gpu.Tensor, k kept) {
	k.normed = l.inputNorm.Forward(p, w, x)
	var attention, mlp *gpu.Tensor
	attention, k.attention = l.attention.Forward(p, w, k.normed)
	k.middle = p.New("middle", x.Rows, x.Cols)
	kernels.ResidualAddForward(p.Rec, k.middle, x, attention)
	p.Free(attention)
	k.normed2 = l.postAttentionNorm.Forward(p, w, k.middle)
	mlp, k.mlp = l.mlp.Forward(p, w, k.normed2)
	y = p.New("layer output", x.Rows, x.Cols)
	kernels.ResidualAddForward(p.Rec, y, k.middle, mlp)
	p.Free(mlp)
	return y, k
}

func (k kept) release(p *model.Pass) {
	k.attention.Release(p)
	k.mlp.Release(p)
	p.Free(k.normed, k.middle, k.normed2)
}

// backward turns dx, the gradient of the layer's output, into that of its input x, in place (left alone unless wanted), and frees what was kept.
func (l *layer) backward(p *model.Pass, w paging.Weights, dx, x *gpu.Tensor, k kept, wanted bool) {
	dMLP := l.mlp.Backward(p, w, dx, k.normed2, k.mlp)
	l.postAttentionNorm.BackwardAdd(p, w, dx, dMLP, k.middle)
	p.Free(dMLP, k.normed2, k.middle)
	dAttention := l.attention.Backward(p, w, dx, k.normed, k.attention, wanted)
	if wanted {
		l.inputNorm.BackwardAdd(p, w, dx, dAttention, x)
	}
	p.Free(dAttention, k.normed)
}

// embedTokens is x [T, C], the tokens' rows of the embedding.
func (m *Model) embedTokens(p *model.Pass) *gpu.Tensor {
	p.Cos, p.Sin = m.cos, m.sin
	x := p.New("embedded", p.Tokens, m.config.HiddenSize)
	m.embed.Gather(p.Rec, x, p.IDs, p.HostIDs)
	return x
}

// Train implements model.Model. Unless everything is kept, only each layer's input is, and the layer is computed again in its backward.
func (m *Model) Train(p *model.Pass, activations paging.Activations) {
	inputs, all := make([]*gpu.Tensor, len(m.layers)), make([]kept, len(m.layers))
	x := m.embedTokens(p)
	for i, l := range m.layers {
		y, k := l.forward(p, l.weights.Use(p.Rec), x)
		if activations != paging.Keep {
			k.release(p)
		}
		inputs[i], all[i] = x, k
		if activations == paging.Offload {
			m.store.Keep(p.Rec, i, x)
			p.Free(x)
		}
		x = y
	}
	dx := m.head.Loss(p, m.norm.Use(p.Rec), x, true)
	for i := len(m.layers) - 1; i >= 0; i-- {
		l, x := m.layers[i], inputs[i]
		if activations == paging.Offload {
			x = p.New("layer input", x.Rows, x.Cols)
			m.store.Fetch(p.Rec, i, x)
		}
		w := l.weights.Use(p.Rec)
		if activations != paging.Keep {
			var y *gpu.Tensor
			y, all[i] = l.forward(p, w, x)
			p.Free(y)
		}
		l.backward(p, w, dx, x, all[i], i > 0)
		p.Free(x)
	}
	p.Free(dx)
}

// hidden is the last layer's output.
func (m *Model) hidden(p *model.Pass) *gpu.Tensor {
	x := m.embedTokens(p)
	for i, l := range m.layers {
		p.Layer = i
		y, k := l.forward(p, l.weights.Use(p.Rec), x)
		k.release(p)
		p.Free(x)
		x = y
	}
	return x
}

// Evaluate implements model.Model.
func (m *Model) Evaluate(p *model.Pass) {
	m.head.Loss(p, m.norm.Use(p.Rec), m.hidden(p), false)
}

// Logits implements model.Model.
func (m *Model) Logits(p *model.Pass) *gpu.Tensor {
	x := m.hidden(p)
	if p.Cache != nil {
		p.Cache.Length += p.Tokens
	}
	return m.head.Logits(p, m.norm.Use(p.Rec), x)
}

// Store implements model.Model.
func (m *Model) Store() *paging.Store { return m.store }

// Linears implements model.Model.
func (m *Model) Linears() (all []*lora.Linear) {
	for _, l := range m.layers {
		all = append(all, l.linears()...)
	}
	return all
}

// Shape implements model.Model.
func (m *Model) Shape() model.Shape {
	c := m.config
	return model.Shape{Layers: len(m.layers), Hidden: c.HiddenSize, Vocab: c.VocabSize, MaxPositions: c.MaxPositionEmbeddings, KVWidth: c.NumKeyValueHeads * c.HeadDim}
}

// SetMaxPositions implements model.Model.
func (m *Model) SetMaxPositions(n int) error {
	n = min(max(n, 1), m.config.MaxPositionEmbeddings)
	if m.cos != nil && m.cos.Rows >= n {
		return nil
	}
	for _, t := range []*gpu.Tensor{m.cos, m.sin} {
		if t != nil {
			t.Release()
		}
	}
	cos, sin := m.config.rope().Tables(n)
	var err error
	if m.cos, err = m.dev.NewTensor("rope cos", gpu.F32, n, m.config.HeadDim/2); err == nil {
		m.sin, err = m.dev.NewTensor("rope sin", gpu.F32, n, m.config.HeadDim/2)
	}
	if err == nil {
		err = m.cos.WriteFloat32(cos)
	}
	if err == nil {
		err = m.sin.WriteFloat32(sin)
	}
	return err
}

// Release implements model.Model.
func (m *Model) Release() {
	m.store.Release()
	for _, t := range []*gpu.Tensor{m.cos, m.sin} {
		if t != nil {
			t.Release()
		}
	}
}
