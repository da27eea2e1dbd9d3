package reference

import "math"

// AttentionBlock is the first half of a decoder layer without its residual: norm, projections, the optional norm of
// queries and keys, rotation, causal attention with grouped keys and values, output projection, another norm.
//
// Source: transformers' modeling_llama.py; the norm of queries and keys per head is modeling_qwen3.py's, over the whole
// width modeling_olmo2.py's, the norm behind modeling_gemma2.py's, one projection of q, k and v modeling_phi3.py's.
type AttentionBlock struct {
	Spec           Spec
	Layer          Layer
	Norm, PostNorm []float64 // [C]; nil where there is none
	QKV            *Linear   // in the place of the next three, whose rows it has in this order
	Q, K, V        *Linear
	O              *Linear
	QNorm, KNorm   []float64 // nil where the spec has none
}

// AttentionKept is what Backward needs of Forward.
type AttentionKept struct {
	x, normed              []float64 // [T, C]
	qProjected, kProjected []float64 // [T, H·D], [T, KVH·D], before norm and rotation
	q, k, v                []float64 // as attention takes them
	o, lse                 []float64 // [T, H·D], [T, H]
	y                      []float64 // [T, C], before the norm behind
	in                     Input
	cos, sin               []float64
}

func (b *AttentionBlock) shape(in Input) AttentionShape {
	l := b.Layer
	scale := l.Scale
	if scale == 0 {
		scale = 1 / math.Sqrt(float64(l.HeadDim))
	}
	return AttentionShape{H: l.Heads, KVH: l.KVHeads, D: l.HeadDim, Scale: scale, SoftCap: l.SoftCap, FirstKey: l.firstKeys(in)}
}

// widths are those of q and of k or v.
func (l Layer) widths() (q, kv int) { return l.Heads * l.HeadDim, l.KVHeads * l.HeadDim }

// project is q, k and v.
func (b *AttentionBlock) project(x []float64) (q, k, v []float64) {
	if b.QKV == nil {
		return b.Q.Forward(x), b.K.Forward(x), b.V.Forward(x)
	}
	wide, narrow := b.Layer.widths()
	parts := SplitColumns(b.QKV.Forward(x), wide, narrow, narrow)
	return parts[0], parts[1], parts[2]
}

// projectBack is dx for the gradients of q, k and v.
func (b *AttentionBlock) projectBack(dq, dk, dv, x []float64) []float64 {
	if b.QKV != nil {
		wide, narrow := b.Layer.widths()
		return b.QKV.Backward(JoinColumns([][]float64{dq, dk, dv}, wide, narrow, narrow), x)
	}
	dx := b.Q.Backward(dq, x)
	addScaled(dx, 1, b.K.Backward(dk, x))
	addScaled(dx, 1, b.V.Backward(dv, x))
	return dx
}

// Forward is y [T, C] for x [T, C], to be added to x.
func (b *AttentionBlock) Forward(x []float64, in Input, trace *Trace) (y []float64, kept *AttentionKept) {
	s, l := b.Spec, b.Layer
	kept = &AttentionKept{x: x, in: in}
	most := uint32(0)
	for _, p := range in.Positions {
		most = max(most, p)
	}
	rope := s.rope(l)
	wide, narrow := l.widths()
	kept.cos, kept.sin = RoPETables(rope.Dim, int(most)+1, rope.Theta, rope.RoPEScaling)
	kept.normed = s.norm(x, b.Norm)
	if b.Norm != nil {
		trace.note("input_norm", s.Hidden, kept.normed)
	}
	kept.qProjected, kept.kProjected, kept.v = b.project(kept.normed)
	trace.note("q", wide, kept.qProjected)
	trace.note("k", narrow, kept.kProjected)
	trace.note("v", narrow, kept.v)
	kept.q, kept.k = kept.qProjected, kept.kProjected
	if l.QKNorm != NoQKNorm {
		kept.q, _ = RMSNormForward(kept.q, b.QNorm, s.NormEps)
		kept.k, _ = RMSNormForward(kept.k, b.KNorm, s.NormEps)
		trace.note("q_norm", wide, kept.q)
		trace.note("k_norm", narrow, kept.k)
	}
	if !l.NoRoPE {
		kept.q = RoPEForward(kept.q, l.Heads, l.HeadDim, rope.Dim, in.Positions, kept.cos, kept.sin)
		kept.q = ScaleQueries(kept.q, in.Positions, rope.RoPEScaling)
		kept.k = RoPEForward(kept.k, l.KVHeads, l.HeadDim, rope.Dim, in.Positions, kept.cos, kept.sin)
	}
	trace.note("q_rotated", wide, kept.q)
	trace.note("k_rotated", narrow, kept.k)
	kept.o, kept.lse = AttentionForward(kept.q, kept.k, kept.v, b.shape(in))
	trace.note("attention", wide, kept.o)
	kept.y = b.O.Forward(kept.o)
	trace.note("o", s.Hidden, kept.y)
	y = s.norm(kept.y, b.PostNorm)
	if b.PostNorm != nil {
		trace.note("attention_post_norm", s.Hidden, y)
	}
	return scaled(y, factor(s.ResidualScale)), kept
}

// Backward is dx [T, C] for dy [T, C]; it adds to the adapters' gradients.
func (b *AttentionBlock) Backward(dy []float64, kept *AttentionKept, trace *Trace) []float64 {
	s, l, in := b.Spec, b.Layer, kept.in
	rope := s.rope(l)
	wide, narrow := l.widths()
	dy = s.normBack(scaled(dy, factor(s.ResidualScale)), kept.y, b.PostNorm)
	if b.PostNorm != nil {
		trace.noteGradient("o", s.Hidden, dy)
	}
	do := b.O.Backward(dy, kept.o)
	trace.noteGradient("attention", wide, do)
	dq, dk, dv := AttentionBackward(do, kept.q, kept.k, kept.v, kept.o, kept.lse, b.shape(in))
	trace.noteGradient("q_rotated", wide, dq)
	trace.noteGradient("k_rotated", narrow, dk)
	if !l.NoRoPE {
		dq = ScaleQueries(dq, in.Positions, rope.RoPEScaling)
		dq = RoPEBackward(dq, l.Heads, l.HeadDim, rope.Dim, in.Positions, kept.cos, kept.sin)
		dk = RoPEBackward(dk, l.KVHeads, l.HeadDim, rope.Dim, in.Positions, kept.cos, kept.sin)
	}
	if l.QKNorm != NoQKNorm {
		trace.noteGradient("q_norm", wide, dq)
		trace.noteGradient("k_norm", narrow, dk)
		dq = RMSNormBackward(dq, kept.qProjected, b.QNorm, s.NormEps)
		dk = RMSNormBackward(dk, kept.kProjected, b.KNorm, s.NormEps)
	}
	trace.noteGradient("q", wide, dq)
	trace.noteGradient("k", narrow, dk)
	trace.noteGradient("v", narrow, dv)
	dNormed := b.projectBack(dq, dk, dv, kept.normed)
	if b.Norm != nil {
		trace.noteGradient("input_norm", s.Hidden, dNormed)
	}
	return s.normBack(dNormed, kept.x, b.Norm)
}
