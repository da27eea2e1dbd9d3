package spec

import (
	"cmp"
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
	Module     string // which of these modules it is of: self_attn.q_proj
	Biased     bool   // of a matrix: its bias comes next in the list
	Heads      int    // of q and k: whose rows GGUF files may interleave, see Family; 0 elsewhere
}

// The modules of a layer and of the model, by the names that Hugging Face's files have for most families.
const (
	QProj             = "self_attn.q_proj"
	KProj             = "self_attn.k_proj"
	VProj             = "self_attn.v_proj"
	QKVProj           = "self_attn.qkv_proj"
	OProj             = "self_attn.o_proj"
	QNorm             = "self_attn.q_norm"
	KNorm             = "self_attn.k_norm"
	GateProj          = "mlp.gate_proj"
	UpProj            = "mlp.up_proj"
	GateUpProj        = "mlp.gate_up_proj"
	DownProj          = "mlp.down_proj"
	InputNorm         = "input_layernorm"
	PostAttentionNorm = "post_attention_layernorm"
	PreMLPNorm        = "pre_feedforward_layernorm"
	PostMLPNorm       = "post_feedforward_layernorm"
	FinalNorm         = "model.norm"
	Embedding         = "model.embed_tokens"
	Head              = "lm_head"
)

// InAttention tells whether a matrix is of a layer's attention.
func (t Tensor) InAttention() bool {
	return slices.Contains([]string{QProj, KProj, VProj, QKVProj, OProj}, t.Module)
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
		t.Name = fmt.Sprintf("model.layers.%d.%s%s", layer, cmp.Or(s.Renamed[t.Module], t.Module), suffix)
		t.GGUF = fmt.Sprintf("blk.%d.%s%s", layer, gguf, suffix)
		t.Layer = layer
		list = append(list, t)
	}
	q, kv := l.Heads*l.HeadDim, l.KVHeads*l.HeadDim
	for _, t := range []struct {
		module, gguf   string
		out, in, heads int
		bias, there    bool
	}{
		{QKVProj, "attn_qkv", q + 2*kv, s.Hidden, 0, l.QKVBias, l.FusedQKV},
		{QProj, "attn_q", q, s.Hidden, l.Heads, l.QKVBias, !l.FusedQKV},
		{KProj, "attn_k", kv, s.Hidden, l.KVHeads, l.QKVBias, !l.FusedQKV},
		{VProj, "attn_v", kv, s.Hidden, 0, l.QKVBias, !l.FusedQKV},
		{OProj, "attn_output", s.Hidden, q, 0, l.OBias, true},
		{GateUpProj, "ffn_up", 2 * l.MLP, s.Hidden, 0, l.MLPBias, l.FusedMLP},
		{GateProj, "ffn_gate", l.MLP, s.Hidden, 0, l.MLPBias, !l.FusedMLP},
		{UpProj, "ffn_up", l.MLP, s.Hidden, 0, l.MLPBias, !l.FusedMLP},
		{DownProj, "ffn_down", s.Hidden, l.MLP, 0, l.MLPBias, true},
	} {
		if !t.there {
			continue
		}
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
		{InputNorm, "attn_norm", s.Hidden, l.Norms != NormsBehind},
		// Llama's norm before the MLP; elsewhere a norm behind attention has its name.
		{PostAttentionNorm, "ffn_norm", s.Hidden, l.Norms == NormsBefore},
		{PostAttentionNorm, "post_attention_norm", s.Hidden, l.Norms != NormsBefore},
		{PreMLPNorm, "ffn_norm", s.Hidden, l.Norms == NormsAround},
		{PostMLPNorm, "post_ffw_norm", s.Hidden, l.Norms != NormsBefore},
		{QNorm, "attn_q_norm", normWidth(l, l.Heads), l.QKNorm != NoQKNorm},
		{KNorm, "attn_k_norm", normWidth(l, l.KVHeads), l.QKNorm != NoQKNorm},
	} {
		if t.there {
			add(Tensor{Module: t.module, Role: Vector, Rows: 1, Cols: t.n}, ".weight", t.gguf)
		}
	}
	return list
}

// normWidth is the length of the weight that norms so many heads of queries or keys.
func normWidth(l Layer, heads int) int {
	if l.QKNorm == WholeWidth {
		return heads * l.HeadDim
	}
	return l.HeadDim
}

// Parameters counts a model's parameters, a tied head once.
func (s Spec) Parameters() (n int64) {
	for _, t := range s.Tensors() {
		n += int64(t.Rows) * int64(t.Cols)
	}
	return n
}
