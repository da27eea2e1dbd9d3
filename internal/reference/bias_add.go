package reference

// BiasAdd: y[t, first+i] += bias[i], for y [T, N], in place. Its backward passes dy on.
func BiasAdd(y, bias []float64, t, n, first int) {
	wantLen("y", len(y), t, n)
	for row := range t {
		for i, b := range bias {
			y[row*n+first+i] += b
		}
	}
}
