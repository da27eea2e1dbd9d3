package reference

// norm is x normed by a weight; x itself where that is nil.
func (s Spec) norm(x, weight []float64) []float64 {
	if weight == nil {
		return x
	}
	y, _ := RMSNormForward(x, weight, s.NormEps)
	return y
}

// normBack is the gradient of x.
func (s Spec) normBack(dy, x, weight []float64) []float64 {
	if weight == nil {
		return dy
	}
	return RMSNormBackward(dy, x, weight, s.NormEps)
}
