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

// kept is what a layer's backward needs: the sum after attention, what attention keeps, and, where nothing of the MLP is computed again, what each chunk's keeps.
type kept struct {
	middle    []*gpu.Tensor
	attention *model.AttentionKept
	mlp       []*model.MLPKept
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

// attend is the first half of the layer for x [T, C], a list of chunks; x stays.
func (l *layer) attend(p *model.Pass, w paging.Weights, x []*gpu.Tensor) (k kept) {
	k.middle = make([]*gpu.Tensor, len(x))
	k.attention = l.attention.Forward(p, w, l.inputNorm, x, func(chunk int, y *gpu.Tensor) {
		k.middle[chunk] = p.New("middle", y.Rows, y.Cols)
		kernels.ResidualAddForward(p.Rec, k.middle[chunk], x[chunk], y)
	})
	return k
}

// forward returns the layer's output; x stays, and what is to be kept.
func (l *layer) forward(p *model.Pass, w paging.Weights, x []*gpu.Tensor, keepAttention, keepMLP bool) (y []*gpu.Tensor, k kept) {
	k = l.attend(p, w, x)
	if !keepAttention {
		k.attention.Release(p)
	}
	for i, middle := range k.middle {
		normed := l.postAttentionNorm.Forward(p, w, middle)
		mlp, mlpKept := l.mlp.Forward(p, i, w, normed)
		p.Free(normed)
		out := p.New("layer output", middle.Rows, middle.Cols)
		kernels.ResidualAddForward(p.Rec, out, middle, mlp)
		p.Free(mlp)
		y = append(y, out)
		if keepMLP {
			k.mlp = append(k.mlp, mlpKept)
		} else {
			mlpKept.Release(p)
		}
		if !keepAttention {
			p.Free(middle)
		}
	}
	return y, k
}

// backward turns dx, the gradient of the layer's output, into that of its input x, in place (left alone unless wanted), and frees what was kept.
func (l *layer) backward(p *model.Pass, w paging.Weights, dx, x []*gpu.Tensor, k kept, wanted bool) {
	for i, middle := range k.middle {
		normed := l.postAttentionNorm.Forward(p, w, middle)
		var mlp *model.MLPKept
		if k.mlp != nil {
			mlp = k.mlp[i]
		} else {
			mlp = l.mlp.Recompute(p, i, w, normed)
		}
		dMLP := l.mlp.Backward(p, i, w, dx[i], normed, mlp)
		l.postAttentionNorm.BackwardAdd(p, w, dx[i], dMLP, middle)
		p.Free(dMLP, normed, middle)
	}
	l.attention.Backward(p, w, l.inputNorm, dx, x, k.attention, wanted)
}

// embedTokens is x [T, C], the tokens' rows of the embedding.
func (m *Model) embedTokens(p *model.Pass) []*gpu.Tensor {
	p.Cos, p.Sin = m.cos, m.sin
	x := p.NewChunks("embedded", m.config.HiddenSize)
	for i, c := range p.Chunks {
		m.embed.Gather(p.Rec, x[i], c.IDs, c.HostIDs)
	}
	return x
}

// hidden is the last layer's output.
func (m *Model) hidden(p *model.Pass) []*gpu.Tensor {
	x := m.embedTokens(p)
	for i, l := range m.layers {
		p.Layer = i
		y, _ := l.forward(p, l.weights.Use(p.Rec), x, false, false)
		p.Free(x...)
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
	return m.head.Logits(p, m.norm.Use(p.Rec), x[0])
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
