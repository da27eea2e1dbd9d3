package reference

import "math"

// GradientNorm is the 2-norm of scale * grads.
func GradientNorm(grads []float64, scale float64) float64 {
	return math.Abs(scale) * math.Sqrt(dot(grads, grads))
}

// ClipCoefficient is what gradients of this norm are multiplied by: min(1, maxNorm / (norm + 1e-6)).
//
// Source: torch.nn.utils.clip_grad_norm_.
func ClipCoefficient(norm, maxNorm float64) float64 {
	return min(1, maxNorm/(norm+1e-6))
}
