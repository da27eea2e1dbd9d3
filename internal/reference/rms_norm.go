package reference

import "math"

// RMSNormForward: inv[t] = 1/sqrt(mean(x[t]^2) + eps), y[t] = x[t] * inv[t] * weight. x and y are [T, C], weight is
// [C], inv is [T]. A norm that stores its weight as an offset from 1 passes 1 + weight.
//
// Source: Root Mean Square Layer Normalization (arXiv 1910.07467), with eps inside the root as in transformers'
// LlamaRMSNorm.
func RMSNormForward(x, weight []float64, eps float64) (y, inv []float64) {
	c := len(weight)
	y, inv = make([]float64, len(x)), make([]float64, rows("x", len(x), c))
	for t := range inv {
		row := x[t*c : t*c+c]
		inv[t] = 1 / math.Sqrt(dot(row, row)/float64(c)+eps)
		for i, v := range row {
			y[t*c+i] = v * inv[t] * weight[i]
		}
	}
	return y, inv
}

// RMSNormBackward: dx[t] = inv[t] * (weight*dy[t] - x[t] * inv[t]^2 * mean(weight*dy[t]*x[t])). dy, x and dx are [T,
// C].
func RMSNormBackward(dy, x, weight []float64, eps float64) []float64 {
	c := len(weight)
	wantLen("dy", len(dy), len(x))
	_, inv := RMSNormForward(x, weight, eps)
	dx := make([]float64, len(x))
	for t, r := range inv {
		mean := 0.0
		for i, w := range weight {
			mean += w * dy[t*c+i] * x[t*c+i] / float64(c)
		}
		for i, w := range weight {
			dx[t*c+i] = r * (w*dy[t*c+i] - x[t*c+i]*r*r*mean)
		}
	}
	return dx
}
