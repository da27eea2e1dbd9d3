package spec

import (
	"fmt"
	"slices"
)

// Role is what becomes of a tensor.
type Role uint8

const (
	// Matrix is the weight of a linear: it is quantized, and can have an adapter.
	Matrix Role = iota
	// Bias is that of the linear before it in the list.
	Bias
	// Vector is the weight of a norm.
	Vector
	// Table is an embedding or the output head.
	Table
)

// Tensor is a tensor of a model.
type Tensor struct {
	Name       string // Hugging Face's: model.layers.0.self_attn.q_proj.weight
	GGUF       string // llama.cpp's: blk.0.attn_q.weight
	Role       Role
	Rows, Cols int    // a vector or a bias has one row
	Layer      int    // -1: in none
	Module     string // its name without layer and .weight or .bias: self_attn.q_proj
	Biased     bool   // of a matrix: its bias comes next in the list
	Heads      int    // of q and k: whose rows GGUF files may interleave, see Family; 0 elsewhere
}

// The modules of a layer and of the model, by Hugging Face's names.
const (
	QProj             = "self_attn.q_proj"
	KProj             = "self_attn.k_proj"
	VProj             = "self_attn.v_proj"
	OProj             = "self_attn.o_proj"
	QNorm             = "self_attn.q_norm"
	KNorm             = "self_attn.k_norm"
	GateProj          = "mlp.gate_proj"
	UpProj            = "mlp.up_proj"
	DownProj          = "mlp.down_proj"
	InputNorm         = "input_layernorm"
	PostAttentionNorm = "post_attention_layernorm"
	FinalNorm         = "model.norm"
	Embedding         = "model.embed_tokens"
	Head              = "lm_head"
)

// InAttention tells whether a matrix is of a layer's attention.
func (t Tensor) InAttention() bool {
	return slices.Contains([]string{QProj, KProj, VProj, OProj}, t.Module)
}

// Tensors lists a model's tensors: layer after layer the linears, then the norms; then what belongs to no layer.
// Regions of the device and of the cache hold them in this order.
func (s Spec) Tensors() (list []Tensor) {
	for i := range s.Layers {
		list = append(list, s.LayerTensors(i)...)
	}
	top := func(module, gguf string, role Role, rows int) {
		list = append(list, Tensor{
			Name: module + ".weight", GGUF: gguf + ".weight", Role: role, Rows: rows, Cols: s.Hidden, Layer: -1, Module: module,
		})
	}
	top(FinalNorm, "output_norm", Vector, 1)
	top(Embedding, "token_embd", Table, s.Vocab)
	if !s.TiedHead {
		top(Head, "output", Table, s.Vocab)
	}
	return list
}

// LayerTensors is the part of the list that is in a layer.
func (s Spec) LayerTensors(layer int) (list []Tensor) {
	l := s.Layers[layer]
	add := func(t Tensor, suffix, gguf string) {
		t.Name, t.GGUF = fmt.Sprintf("model.layers.%d.%s%s", layer, t.Module, suffix), fmt.Sprintf("blk.%d.%s%s", layer, gguf, suffix)
		t.Layer = layer
		list = append(list, t)
	}
	q, kv := l.Heads*l.HeadDim, l.KVHeads*l.HeadDim
	for _, t := range []struct {
		module, gguf   string
		out, in, heads int
		bias           bool
	}{
		{QProj, "attn_q", q, s.Hidden, l.Heads, l.QKVBias},
		{KProj, "attn_k", kv, s.Hidden, l.KVHeads, l.QKVBias},
		{VProj, "attn_v", kv, s.Hidden, 0, l.QKVBias},
		{OProj, "attn_output", s.Hidden, q, 0, l.OBias},
		{GateProj, "ffn_gate", l.MLP, s.Hidden, 0, l.MLPBias},
		{UpProj, "ffn_up", l.MLP, s.Hidden, 0, l.MLPBias},
		{DownProj, "ffn_down", s.Hidden, l.MLP, 0, l.MLPBias},
	} {
		add(Tensor{Module: t.module, Role: Matrix, Rows: t.out, Cols: t.in, Heads: t.heads, Biased: t.bias}, ".weight", t.gguf)
		if t.bias {
			add(Tensor{Module: t.module, Role: Bias, Rows: 1, Cols: t.out, Heads: t.heads}, ".bias", t.gguf)
		}
	}
	for _, t := range []struct {
		module, gguf string
		n            int
		there        bool
	}{
		{InputNorm, "attn_norm", s.Hidden, true}, {PostAttentionNorm, "ffn_norm", s.Hidden, true},
		{QNorm, "attn_q_norm", l.HeadDim, l.QKNorm == PerHead}, {KNorm, "attn_k_norm", l.HeadDim, l.QKNorm == PerHead},
	} {
		if t.there {
			add(Tensor{Module: t.module, Role: Vector, Rows: 1, Cols: t.n}, ".weight", t.gguf)
		}
	}
	return list
}

// Parameters counts a model's parameters, a tied head once.
func (s Spec) Parameters() (n int64) {
	for _, t := range s.Tensors() {
		n += int64(t.Rows) * int64(t.Cols)
	}
	return n
}
