package reference

// Linear is a frozen weight with an optional bias and an optional adapter:
// y = x W^T + bias + scaling * (mask*x) A^T B^T.
//
// Source: QLoRA (arXiv 2305.14314), equation 5.
type Linear struct {
	Name    string // as Hugging Face names it: "model.layers.0.self_attn.q_proj"
	In, Out int
	W       []float64 // [Out, In]
	Bias    []float64 // [Out], nil for none
	LoRA    *LoRA     // nil for none
}

// LoRA is a linear's adapter; Backward adds to DA and DB.
type LoRA struct {
	Rank    int
	Scaling float64
	A, DA   []float64 // [Rank, In]
	B, DB   []float64 // [Out, Rank]
	Mask    []float64 // [T, In] from Dropout (0 or 1/(1-p)), for the pass that comes; nil for none
}

// Attach gives the linear an adapter of a's and b's values, a [rank, In] and b [Out, rank], with gradients of zero.
func (l *Linear) Attach(rank int, scaling float64, a, b []float64) {
	wantLen("a", len(a), rank, l.In)
	wantLen("b", len(b), l.Out, rank)
	l.LoRA = &LoRA{Rank: rank, Scaling: scaling, A: a, B: b, DA: make([]float64, len(a)), DB: make([]float64, len(b))}
}

// Forward is y [T, Out] for x [T, In].
func (l *Linear) Forward(x []float64) []float64 {
	t := rows(l.Name, len(x), l.In)
	y := MatmulForward(x, l.W, l.Bias, t, l.Out, l.In)
	if a := l.LoRA; a != nil {
		y = ResidualAdd(y, LoRAForward(x, a, t, l.Out, l.In))
	}
	return y
}

// Backward is dx [T, In] for dy [T, Out] and Forward's x; it adds to the adapter's gradients.
func (l *Linear) Backward(dy, x []float64) []float64 {
	t := rows(l.Name, len(x), l.In)
	dx := MatmulBackwardInput(dy, l.W, t, l.Out, l.In)
	if a := l.LoRA; a != nil {
		da, db, dAdapter := LoRABackward(dy, x, a, t, l.Out, l.In)
		addScaled(a.DA, 1, da)
		addScaled(a.DB, 1, db)
		addScaled(dx, 1, dAdapter)
	}
	return dx
}
