package reference

// MLPBlock is the second half of a decoder layer without its residual: norm, down(silu(gate) * up), another norm.
//
// Source: transformers' modeling_llama.py; GELU and the norm behind are modeling_gemma2.py's, one projection of gate
// and up modeling_phi3.py's.
type MLPBlock struct {
	Spec           Spec
	Layer          Layer
	Norm, PostNorm []float64 // [C]; nil where there is none
	GateUp         *Linear   // in the place of the next two, whose rows it has in this order
	Gate, Up       *Linear
	Down           *Linear
}

// MLPKept is what Backward needs of Forward.
type MLPKept struct {
	x, normed []float64 // [T, C]
	gate, up  []float64 // [T, intermediate]
	hidden    []float64 // [T, intermediate]
	y         []float64 // [T, C], before the norm behind
}

// Forward is y [T, C] for x [T, C], to be added to x.
func (b *MLPBlock) Forward(x []float64, trace *Trace) (y []float64, kept *MLPKept) {
	s, width := b.Spec, b.Layer.MLP
	kept = &MLPKept{x: x}
	kept.normed = s.norm(x, b.Norm)
	if b.Norm != nil {
		trace.note("post_attention_norm", s.Hidden, kept.normed)
	}
	if b.GateUp != nil {
		parts := SplitColumns(b.GateUp.Forward(kept.normed), width, width)
		kept.gate, kept.up = parts[0], parts[1]
	} else {
		kept.gate, kept.up = b.Gate.Forward(kept.normed), b.Up.Forward(kept.normed)
	}
	trace.note("gate", width, kept.gate)
	trace.note("up", width, kept.up)
	if b.Layer.GELU {
		kept.hidden = GEGLUForward(kept.gate, kept.up)
	} else {
		kept.hidden = SwiGLUForward(kept.gate, kept.up)
	}
	trace.note("mlp_hidden", width, kept.hidden)
	kept.y = b.Down.Forward(kept.hidden)
	trace.note("down", s.Hidden, kept.y)
	y = s.norm(kept.y, b.PostNorm)
	if b.PostNorm != nil {
		trace.note("mlp_post_norm", s.Hidden, y)
	}
	return scaled(y, factor(s.ResidualScale)), kept
}

// Backward is dx [T, C] for dy [T, C]; it adds to the adapters' gradients.
func (b *MLPBlock) Backward(dy []float64, kept *MLPKept, trace *Trace) []float64 {
	s, width := b.Spec, b.Layer.MLP
	dy = s.normBack(scaled(dy, factor(s.ResidualScale)), kept.y, b.PostNorm)
	if b.PostNorm != nil {
		trace.noteGradient("down", s.Hidden, dy)
	}
	dHidden := b.Down.Backward(dy, kept.hidden)
	trace.noteGradient("mlp_hidden", width, dHidden)
	backward := SwiGLUBackward
	if b.Layer.GELU {
		backward = GEGLUBackward
	}
	dGate, dUp := backward(dHidden, kept.gate, kept.up)
	trace.noteGradient("gate", width, dGate)
	trace.noteGradient("up", width, dUp)
	var dNormed []float64
	if b.GateUp != nil {
		dNormed = b.GateUp.Backward(JoinColumns([][]float64{dGate, dUp}, width, width), kept.normed)
	} else {
		dNormed = b.Gate.Backward(dGate, kept.normed)
		addScaled(dNormed, 1, b.Up.Backward(dUp, kept.normed))
	}
	if b.Norm != nil {
		trace.noteGradient("post_attention_norm", s.Hidden, dNormed)
	}
	return s.normBack(dNormed, kept.x, b.Norm)
}
