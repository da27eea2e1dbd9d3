package reference

// MatmulForward: y = x w^T + bias. x is [T, K], w is [N, K], bias is [N] or nil, y is [T, N].
func MatmulForward(x, w, bias []float64, t, n, k int) []float64 {
	wantLen("x", len(x), t, k)
	wantLen("w", len(w), n, k)
	if bias != nil {
		wantLen("bias", len(bias), n)
	}
	y := make([]float64, t*n)
	for i := range t {
		for j := range n {
			y[i*n+j] = dot(x[i*k:i*k+k], w[j*k:j*k+k])
			if bias != nil {
				y[i*n+j] += bias[j]
			}
		}
	}
	return y
}

// MatmulBackwardInput: dx = dy w. dy is [T, N], w is [N, K], dx is [T, K].
func MatmulBackwardInput(dy, w []float64, t, n, k int) []float64 {
	wantLen("dy", len(dy), t, n)
	wantLen("w", len(w), n, k)
	dx := make([]float64, t*k)
	for i := range t {
		for j := range n {
			addScaled(dx[i*k:i*k+k], dy[i*n+j], w[j*k:j*k+k])
		}
	}
	return dx
}

// MatmulBackwardWeight: dw = dy^T x. dy is [T, N], x is [T, K], dw is [N, K].
func MatmulBackwardWeight(dy, x []float64, t, n, k int) []float64 {
	wantLen("dy", len(dy), t, n)
	wantLen("x", len(x), t, k)
	dw := make([]float64, n*k)
	for i := range t {
		for j := range n {
			addScaled(dw[j*k:j*k+k], dy[i*n+j], x[i*k:i*k+k])
		}
	}
	return dw
}
