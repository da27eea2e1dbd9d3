package reference

import "math"

// SoftCap is cap·tanh(x/cap), which keeps x within ±cap; x itself where cap is 0.
//
// Source: Gemma 2 (arXiv 2408.00118), section 2.
func SoftCap(x, cap float64) float64 {
	if cap == 0 {
		return x
	}
	return cap * math.Tanh(x/cap)
}

// softCapSlope is the derivative of SoftCap where it gives y.
func softCapSlope(y, cap float64) float64 {
	if cap == 0 {
		return 1
	}
	return 1 - (y/cap)*(y/cap)
}
