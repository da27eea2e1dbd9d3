package reference

// MLPBlock is the second half of a decoder layer without its residual: norm, then down(silu(gate) * up).
//
// Source: transformers' modeling_llama.py.
type MLPBlock struct {
	Spec           Spec
	Norm           []float64 // [C]
	Gate, Up, Down *Linear
}

// MLPKept is what Backward needs of Forward.
type MLPKept struct {
	x, normed []float64 // [T, C]
	gate, up  []float64 // [T, intermediate]
	hidden    []float64 // [T, intermediate]
}

// Forward is y [T, C] for x [T, C], to be added to x.
func (b *MLPBlock) Forward(x []float64, trace *Trace) (y []float64, kept *MLPKept) {
	kept = &MLPKept{x: x}
	kept.normed, _ = RMSNormForward(x, b.Norm, b.Spec.NormEps)
	trace.note("post_attention_norm", b.Spec.Hidden, kept.normed)
	kept.gate, kept.up = b.Gate.Forward(kept.normed), b.Up.Forward(kept.normed)
	trace.note("gate", b.Gate.Out, kept.gate)
	trace.note("up", b.Up.Out, kept.up)
	kept.hidden = SwiGLUForward(kept.gate, kept.up)
	trace.note("mlp_hidden", b.Down.In, kept.hidden)
	y = b.Down.Forward(kept.hidden)
	trace.note("down", b.Spec.Hidden, y)
	return y, kept
}

// Backward is dx [T, C] for dy [T, C]; it adds to the adapters' gradients.
func (b *MLPBlock) Backward(dy []float64, kept *MLPKept, trace *Trace) []float64 {
	dHidden := b.Down.Backward(dy, kept.hidden)
	trace.noteGradient("mlp_hidden", b.Down.In, dHidden)
	dGate, dUp := SwiGLUBackward(dHidden, kept.gate, kept.up)
	trace.noteGradient("gate", b.Gate.Out, dGate)
	trace.noteGradient("up", b.Up.Out, dUp)
	dNormed := b.Gate.Backward(dGate, kept.normed)
	addScaled(dNormed, 1, b.Up.Backward(dUp, kept.normed))
	trace.noteGradient("post_attention_norm", b.Spec.Hidden, dNormed)
	return RMSNormBackward(dNormed, kept.x, b.Norm, b.Spec.NormEps)
}
