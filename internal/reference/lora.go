package reference

// LoRAForward: y = scale * (mask*x) A^T B^T, the adapter's part of a linear. x is [T, K], y is [T, N].
//
// Source: LoRA (arXiv 2106.09685); PEFT's Linear.forward.
func LoRAForward(x []float64, l *LoRA, t, n, k int) []float64 {
	y := MatmulForward(MatmulForward(masked(x, l.Mask), l.A, nil, t, l.Rank, k), l.B, nil, t, n, l.Rank)
	return scaled(y, l.Scaling)
}

// LoRABackward, with h = (mask*x) A^T [T, R] and dh = scale * dy B [T, R]:
// da = dh^T (mask*x) [R, K], db = scale * dy^T h [N, R], dx = mask * (dh A) [T, K].
func LoRABackward(dy, x []float64, l *LoRA, t, n, k int) (da, db, dx []float64) {
	x = masked(x, l.Mask)
	h := MatmulForward(x, l.A, nil, t, l.Rank, k)
	dh := scaled(MatmulBackwardInput(dy, l.B, t, n, l.Rank), l.Scaling)
	da = MatmulBackwardWeight(dh, x, t, l.Rank, k)
	db = scaled(MatmulBackwardWeight(dy, h, t, n, l.Rank), l.Scaling)
	dx = masked(MatmulBackwardInput(dh, l.A, t, l.Rank, k), l.Mask)
	return da, db, dx
}

func masked(x, mask []float64) []float64 {
	if mask == nil {
		return x
	}
	wantLen("mask", len(mask), len(x))
	y := make([]float64, len(x))
	for i := range y {
		y[i] = x[i] * mask[i]
	}
	return y
}

func scaled(x []float64, scale float64) []float64 {
	y := make([]float64, len(x))
	addScaled(y, scale, x)
	return y
}
