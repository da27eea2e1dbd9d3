package reference

// Scale: y = scale·x, element by element.
func Scale(x []float64, scale float64) []float64 { return scaled(x, scale) }
