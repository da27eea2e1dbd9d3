package reference

import (
	"cmp"
	"fmt"
	"slices"
)

// Decoder is a whole model: embedding, layers, final norm, head.
type Decoder struct {
	Spec      Spec
	Embedding []float64 // [V, C]
	Layers    []*DecoderLayer
	Norm      []float64 // [C]
	Head      []float64 // [V, C]; where it is tied, Embedding
}

// DecoderLayer is a layer: middle = x + attention(x), y = middle + mlp(middle).
type DecoderLayer struct {
	Attention AttentionBlock
	MLP       MLPBlock
}

// LayerKept is what a layer's Backward needs of Forward.
type LayerKept struct {
	attention *AttentionKept
	mlp       *MLPKept
}

// NewDecoder makes a decoder of the tensors that its spec wants. tensor is asked for each once, under its Hugging
// Face name; a vector has one row.
func NewDecoder(s Spec, tensor func(name string, rows, cols int) []float64) *Decoder {
	get := func(name string, rows, cols int) []float64 {
		values := tensor(name, rows, cols)
		wantLen(name, len(values), rows, cols)
		return values
	}
	vector := func(name string, n int) []float64 { return get(name+".weight", 1, n) }
	linear := func(layer int, module string, out, in int, bias bool) *Linear {
		name := fmt.Sprintf("model.layers.%d.%s", layer, cmp.Or(s.Renamed[module], module))
		l := &Linear{Name: name, In: in, Out: out, W: get(name+".weight", out, in)}
		if bias {
			l.Bias = get(name+".bias", 1, out)
		}
		return l
	}
	d := &Decoder{Spec: s, Embedding: get("model.embed_tokens.weight", s.Vocab, s.Hidden)}
	for i, spec := range s.Layers {
		prefix := fmt.Sprintf("model.layers.%d.", i)
		q, kv, bias := spec.Heads*spec.HeadDim, spec.KVHeads*spec.HeadDim, spec.Bias
		l := &DecoderLayer{AttentionBlock{Spec: s, Layer: spec}, MLPBlock{Spec: s, Layer: spec}}
		a, m := &l.Attention, &l.MLP
		if spec.FusedQKV {
			a.QKV = linear(i, "self_attn.qkv_proj", q+2*kv, s.Hidden, bias.Q)
		} else {
			a.Q = linear(i, "self_attn.q_proj", q, s.Hidden, bias.Q)
			a.K = linear(i, "self_attn.k_proj", kv, s.Hidden, bias.K)
			a.V = linear(i, "self_attn.v_proj", kv, s.Hidden, bias.V)
		}
		a.O = linear(i, "self_attn.o_proj", s.Hidden, q, bias.O)
		if spec.FusedMLP {
			m.GateUp = linear(i, "mlp.gate_up_proj", 2*spec.MLP, s.Hidden, bias.Gate)
		} else {
			m.Gate = linear(i, "mlp.gate_proj", spec.MLP, s.Hidden, bias.Gate)
			m.Up = linear(i, "mlp.up_proj", spec.MLP, s.Hidden, bias.Up)
		}
		m.Down = linear(i, "mlp.down_proj", s.Hidden, spec.MLP, bias.Down)
		beforeMLP := "post_attention_layernorm"
		if spec.Norms != NormsBefore {
			a.PostNorm = vector(prefix+"post_attention_layernorm", s.Hidden)
			m.PostNorm = vector(prefix+"post_feedforward_layernorm", s.Hidden)
			beforeMLP = "pre_feedforward_layernorm"
		}
		if spec.Norms != NormsBehind {
			a.Norm, m.Norm = vector(prefix+"input_layernorm", s.Hidden), vector(prefix+beforeMLP, s.Hidden)
		}
		if spec.QKNorm != NoQKNorm {
			l.Attention.QNorm = vector(prefix+"self_attn.q_norm", spec.qkNormWidth(spec.Heads))
			l.Attention.KNorm = vector(prefix+"self_attn.k_norm", spec.qkNormWidth(spec.KVHeads))
		}
		d.Layers = append(d.Layers, l)
	}
	d.Norm, d.Head = vector("model.norm", s.Hidden), d.Embedding
	if !s.TiedHead {
		d.Head = get("lm_head.weight", s.Vocab, s.Hidden)
	}
	return d
}

// Linears are all linears of the layer.
func (l *DecoderLayer) Linears() []*Linear {
	a, m := &l.Attention, &l.MLP
	all := []*Linear{a.QKV, a.Q, a.K, a.V, a.O, m.GateUp, m.Gate, m.Up, m.Down}
	return slices.DeleteFunc(all, func(l *Linear) bool { return l == nil })
}

// Linears are all linears of the layers.
func (d *Decoder) Linears() (all []*Linear) {
	for _, l := range d.Layers {
		all = append(all, l.Linears()...)
	}
	return all
}

// Forward is the layer's output [T, C] for x [T, C].
func (l *DecoderLayer) Forward(x []float64, in Input, trace *Trace) (y []float64, kept LayerKept) {
	y, kept.attention = l.Attention.Forward(x, in, trace)
	middle := ResidualAdd(x, y)
	trace.note("middle", l.MLP.Spec.Hidden, middle)
	y, kept.mlp = l.MLP.Forward(middle, trace)
	y = ResidualAdd(middle, y)
	trace.note("output", l.MLP.Spec.Hidden, y)
	return y, kept
}

// Backward is dx [T, C] for dy [T, C]; it adds to the adapters' gradients.
func (l *DecoderLayer) Backward(dy []float64, kept LayerKept, trace *Trace) []float64 {
	trace.noteGradient("output", l.MLP.Spec.Hidden, dy)
	dMiddle := ResidualAdd(dy, l.MLP.Backward(dy, kept.mlp, trace))
	trace.noteGradient("middle", l.MLP.Spec.Hidden, dMiddle)
	return ResidualAdd(dMiddle, l.Attention.Backward(dMiddle, kept.attention, trace))
}

// Embed is the tokens' rows [T, C] of the embedding.
func (d *Decoder) Embed(in Input) []float64 {
	return scaled(EmbeddingForward(in.IDs, d.Embedding, d.Spec.Hidden), factor(d.Spec.EmbeddingScale))
}

// hidden is the last layer's output [T, C] for embedded tokens x [T, C].
func (d *Decoder) hidden(x []float64, in Input, trace *Trace) (y []float64, kept []LayerKept) {
	trace.note("embedded", d.Spec.Hidden, x)
	kept = make([]LayerKept, len(d.Layers))
	for i, l := range d.Layers {
		trace.within(fmt.Sprintf("layers.%d.", i))
		x, kept[i] = l.Forward(x, in, trace)
	}
	trace.within("")
	return x, kept
}

// head is logits [S, V] of rows x [S, C] of the last layer's output.
func (d *Decoder) head(x []float64, trace *Trace) []float64 {
	s := d.Spec
	normed, _ := RMSNormForward(x, d.Norm, s.NormEps)
	trace.note("norm", s.Hidden, normed)
	logits := scaled(MatmulForward(normed, d.Head, nil, len(x)/s.Hidden, s.Vocab, s.Hidden), factor(s.LogitScale))
	for i, x := range logits {
		logits[i] = SoftCap(x, s.LogitSoftCap)
	}
	trace.note("logits", s.Vocab, logits)
	return logits
}

// Logits are those [T, V] of all tokens.
func (d *Decoder) Logits(in Input, trace *Trace) []float64 {
	y, _ := d.hidden(d.Embed(in), in, trace)
	return d.head(y, trace)
}

// Loss is the sum, not the mean, of the supervised tokens' losses for embedded tokens x [T, C].
func (d *Decoder) Loss(x []float64, in Input, trace *Trace) float64 {
	y, _ := d.hidden(x, in, trace)
	rows, targets := in.supervised()
	losses, _ := CrossEntropy(d.head(GatherRows(y, d.Spec.Hidden, rows), trace), targets, d.Spec.Vocab)
	return sum(losses)
}

// Train is Loss and its backward: it adds the gradients of the sum to the adapters' and returns dx [T, C].
func (d *Decoder) Train(x []float64, in Input, trace *Trace) (loss float64, dx []float64) {
	s := d.Spec
	y, kept := d.hidden(x, in, trace)
	rows, targets := in.supervised()
	supervised := GatherRows(y, s.Hidden, rows)
	logits := d.head(supervised, trace)
	losses, dLogits := CrossEntropy(logits, targets, s.Vocab)
	for i, x := range logits {
		dLogits[i] *= softCapSlope(x, s.LogitSoftCap)
	}
	trace.noteGradient("logits", s.Vocab, dLogits)
	dLogits = scaled(dLogits, factor(s.LogitScale))
	dNormed := MatmulBackwardInput(dLogits, d.Head, len(rows), s.Vocab, s.Hidden)
	trace.noteGradient("norm", s.Hidden, dNormed)
	dx = ScatterRows(RMSNormBackward(dNormed, supervised, d.Norm, s.NormEps), s.Hidden, rows, len(in.IDs))
	for i := len(d.Layers) - 1; i >= 0; i-- {
		trace.within(fmt.Sprintf("layers.%d.", i))
		dx = d.Layers[i].Backward(dx, kept[i], trace)
	}
	trace.within("")
	trace.noteGradient("embedded", s.Hidden, dx)
	return sum(losses), dx
}

func sum(values []float64) (total float64) {
	for _, v := range values {
		total += v
	}
	return total
}
