package reference

// ScatterRows: y[index[i]] = x[i], all other rows of y are zero; y is [n, c]. It is the backward of GatherRows where no
// index repeats, which it requires.
func ScatterRows(x []float64, c int, index []uint32, n int) []float64 {
	wantLen("x", len(x), len(index), c)
	y := make([]float64, n*c)
	seen := make([]bool, n)
	for i, row := range index {
		if seen[row] {
			panic("reference: ScatterRows: a row repeats")
		}
		seen[row] = true
		copy(y[int(row)*c:int(row)*c+c], x[i*c:])
	}
	return y
}
