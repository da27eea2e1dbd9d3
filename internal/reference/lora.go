package reference

// LoRAForward: y = scale * (mask*x) A^T B^T, the adapter's part of a linear. x is [T, K], a is [R, K], b is [N, R], y
// is [T, N]. mask is [T, K] from Dropout (0 or 1/(1-p)), or nil.
//
// Source: LoRA (arXiv 2106.09685); PEFT's Linear.forward.
func LoRAForward(x, a, b []float64, scale float64, mask []float64, t, n, k, r int) []float64 {
	y := MatmulForward(MatmulForward(masked(x, mask), a, nil, t, r, k), b, nil, t, n, r)
	return scaled(y, scale)
}

// LoRABackward, with h = (mask*x) A^T [T, R] and dh = scale * dy B [T, R]:
// da = dh^T (mask*x) [R, K], db = scale * dy^T h [N, R], dx = mask * (dh A) [T, K].
func LoRABackward(dy, x, a, b []float64, scale float64, mask []float64, t, n, k, r int) (da, db, dx []float64) {
	x = masked(x, mask)
	h := MatmulForward(x, a, nil, t, r, k)
	dh := scaled(MatmulBackwardInput(dy, b, t, n, r), scale)
	da = MatmulBackwardWeight(dh, x, t, r, k)
	db = scaled(MatmulBackwardWeight(dy, h, t, n, r), scale)
	dx = masked(MatmulBackwardInput(dh, a, t, r, k), mask)
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
