package reference

// GatherRows: y[i] = x[index[i]], rows of c columns. y is [len(index), c].
func GatherRows(x []float64, c int, index []uint32) []float64 {
	rows("x", len(x), c)
	y := make([]float64, 0, len(index)*c)
	for _, row := range index {
		y = append(y, x[int(row)*c:int(row)*c+c]...)
	}
	return y
}
