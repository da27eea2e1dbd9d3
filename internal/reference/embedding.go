package reference

// EmbeddingForward: y[t] = table[ids[t]]. table is [V, C], y is [T, C].
func EmbeddingForward(ids []uint32, table []float64, c int) []float64 {
	return GatherRows(table, c, ids)
}
