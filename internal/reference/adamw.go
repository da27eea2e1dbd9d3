package reference

import "math"

// AdamWSettings are the hyper-parameters of one update.
type AdamWSettings struct {
	LearningRate, Beta1, Beta2, Eps, WeightDecay float64
}

// AdamW updates param, m and v in place; step counts from 1. In torch's order:
//
//	param *= 1 - lr*weight_decay
//	m = beta1*m + (1-beta1)*grad
//	v = beta2*v + (1-beta2)*grad^2
//	param -= lr/(1-beta1^step) * m / (sqrt(v)/sqrt(1-beta2^step) + eps)
//
// Source: Decoupled Weight Decay Regularization (arXiv 1711.05101); torch.optim.AdamW.
func AdamW(param, grad, m, v []float64, s AdamWSettings, step int) {
	wantLen("grad", len(grad), len(param))
	wantLen("m", len(m), len(param))
	wantLen("v", len(v), len(param))
	correction1 := 1 - math.Pow(s.Beta1, float64(step))
	correction2 := 1 - math.Pow(s.Beta2, float64(step))
	for i, g := range grad {
		param[i] *= 1 - s.LearningRate*s.WeightDecay
		m[i] = s.Beta1*m[i] + (1-s.Beta1)*g
		v[i] = s.Beta2*v[i] + (1-s.Beta2)*g*g
		denominator := math.Sqrt(v[i])/math.Sqrt(correction2) + s.Eps
		param[i] -= s.LearningRate / correction1 * m[i] / denominator
	}
}
