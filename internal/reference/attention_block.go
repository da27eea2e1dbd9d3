package reference

import "math"

// AttentionBlock is the first half of a decoder layer without its residual: norm, projections, the optional norm of
// queries and keys, rotation, causal attention with grouped keys and values, output projection.
//
// Source: transformers' modeling_llama.py; the norm of queries and keys per head is modeling_qwen3.py's, over the whole
// width modeling_olmo2.py's.
type AttentionBlock struct {
	Spec         Spec
	Layer        Layer
	Norm         []float64 // [C]
	Q, K, V, O   *Linear
	QNorm, KNorm []float64 // nil where the spec has none
}

// AttentionKept is what Backward needs of Forward.
type AttentionKept struct {
	x, normed              []float64 // [T, C]
	qProjected, kProjected []float64 // [T, H·D], [T, KVH·D], before norm and rotation
	q, k, v                []float64 // as attention takes them
	o, lse                 []float64 // [T, H·D], [T, H]
	in                     Input
	cos, sin               []float64
}

func (b *AttentionBlock) shape(in Input) AttentionShape {
	l := b.Layer
	return AttentionShape{H: l.Heads, KVH: l.KVHeads, D: l.HeadDim, Scale: 1 / math.Sqrt(float64(l.HeadDim)), FirstKey: l.firstKeys(in)}
}

// Forward is y [T, C] for x [T, C], to be added to x.
func (b *AttentionBlock) Forward(x []float64, in Input, trace *Trace) (y []float64, kept *AttentionKept) {
	s, l := b.Spec, b.Layer
	kept = &AttentionKept{x: x, in: in}
	most := uint32(0)
	for _, p := range in.Positions {
		most = max(most, p)
	}
	kept.cos, kept.sin = RoPETables(l.HeadDim, int(most)+1, s.RoPE.Theta, s.RoPE.RoPEScaling)
	kept.normed, _ = RMSNormForward(x, b.Norm, s.NormEps)
	trace.note("input_norm", s.Hidden, kept.normed)
	kept.qProjected, kept.kProjected, kept.v = b.Q.Forward(kept.normed), b.K.Forward(kept.normed), b.V.Forward(kept.normed)
	trace.note("q", b.Q.Out, kept.qProjected)
	trace.note("k", b.K.Out, kept.kProjected)
	trace.note("v", b.V.Out, kept.v)
	kept.q, kept.k = kept.qProjected, kept.kProjected
	if l.QKNorm != NoQKNorm {
		kept.q, _ = RMSNormForward(kept.q, b.QNorm, s.NormEps)
		kept.k, _ = RMSNormForward(kept.k, b.KNorm, s.NormEps)
		trace.note("q_norm", b.Q.Out, kept.q)
		trace.note("k_norm", b.K.Out, kept.k)
	}
	kept.q = RoPEForward(kept.q, l.Heads, l.HeadDim, in.Positions, kept.cos, kept.sin)
	kept.k = RoPEForward(kept.k, l.KVHeads, l.HeadDim, in.Positions, kept.cos, kept.sin)
	trace.note("q_rotated", b.Q.Out, kept.q)
	trace.note("k_rotated", b.K.Out, kept.k)
	kept.o, kept.lse = AttentionForward(kept.q, kept.k, kept.v, b.shape(in))
	trace.note("attention", b.Q.Out, kept.o)
	y = b.O.Forward(kept.o)
	trace.note("o", s.Hidden, y)
	return y, kept
}

// Backward is dx [T, C] for dy [T, C]; it adds to the adapters' gradients.
func (b *AttentionBlock) Backward(dy []float64, kept *AttentionKept, trace *Trace) []float64 {
	s, l, in := b.Spec, b.Layer, kept.in
	do := b.O.Backward(dy, kept.o)
	trace.noteGradient("attention", b.Q.Out, do)
	dq, dk, dv := AttentionBackward(do, kept.q, kept.k, kept.v, kept.o, kept.lse, b.shape(in))
	trace.noteGradient("q_rotated", b.Q.Out, dq)
	trace.noteGradient("k_rotated", b.K.Out, dk)
	dq = RoPEBackward(dq, l.Heads, l.HeadDim, in.Positions, kept.cos, kept.sin)
	dk = RoPEBackward(dk, l.KVHeads, l.HeadDim, in.Positions, kept.cos, kept.sin)
	if l.QKNorm != NoQKNorm {
		trace.noteGradient("q_norm", b.Q.Out, dq)
		trace.noteGradient("k_norm", b.K.Out, dk)
		dq = RMSNormBackward(dq, kept.qProjected, b.QNorm, s.NormEps)
		dk = RMSNormBackward(dk, kept.kProjected, b.KNorm, s.NormEps)
	}
	trace.noteGradient("q", b.Q.Out, dq)
	trace.noteGradient("k", b.K.Out, dk)
	trace.noteGradient("v", b.V.Out, dv)
	dNormed := b.Q.Backward(dq, kept.normed)
	addScaled(dNormed, 1, b.K.Backward(dk, kept.normed))
	addScaled(dNormed, 1, b.V.Backward(dv, kept.normed))
	trace.noteGradient("input_norm", s.Hidden, dNormed)
	return RMSNormBackward(dNormed, kept.x, b.Norm, s.NormEps)
}
