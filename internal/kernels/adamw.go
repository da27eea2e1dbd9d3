package kernels

import (
	"math"

	"qlora-wgpu/gpu"
)

type adamWParams struct {
	Count4                                                       uint32
	Decay, OneMinusBeta1, OneMinusBeta2, StepSize, Root, Epsilon float32
}

var adamWStep = define("adamw_step", "iwwww", adamWParams{})

// AdamW holds the settings of one update; Step counts from 1.
type AdamW struct {
	LearningRate, Beta1, Beta2, Epsilon, WeightDecay float64
	Step                                             int
}

// AdamWTensors is flat state: F32 [1, n] with n a multiple of 256. M and V are U32 [n/256, MomentWords] in 8 bits,
// where Maps (see DynamicMaps) is wanted too.
type AdamWTensors struct {
	Param, Grad, M, V, Maps *gpu.Tensor
	Stats                   *gpu.Tensor // F32 [1, StatCount]
}

// AdamWStep is one update of flat state, after GradientNorm has filled stats:
//
//	g = grad * stats[StatScale]
//	param *= 1 - lr*weight_decay
//	m = beta1*m + (1-beta1)*g;  v = beta2*v + (1-beta2)*g²
//	param -= lr/(1-beta1^step) * m / (sqrt(v)/sqrt(1-beta2^step) + epsilon)
//	grad = 0
//
// Where stats[StatSkip] is not 0 only grad is zeroed. Sources: Loshchilov & Hutter, arXiv 1711.05101;
// torch.optim.AdamW.
func AdamWStep(rec *gpu.Recorder, t AdamWTensors, s AdamW) {
	const kernel = "adamw_step"
	requireStats(kernel, t.Stats)
	requireFlat(kernel, t.Param)
	sameShape(kernel, t.Param, t.Grad, t.M, t.V)
	n := t.Param.Cols
	rec.Dispatch(adamWStep.spec(nil), ceilDiv(n, 1024), int64(16*n), s.params(kernel, n),
		t.Stats.Single(), t.Param.Single(), t.Grad.Single(), t.M.Single(), t.V.Single())
}

// params are the host's factors for n elements, from float64.
func (s AdamW) params(kernel string, n int) adamWParams {
	require(s.Step >= 1, kernel, "step %d, steps count from 1", s.Step)
	return adamWParams{
		Count4:        uint32(n / 4),
		Decay:         float32(s.LearningRate * s.WeightDecay),
		OneMinusBeta1: float32(1 - s.Beta1),
		OneMinusBeta2: float32(1 - s.Beta2),
		StepSize:      float32(s.LearningRate / (1 - math.Pow(s.Beta1, float64(s.Step)))),
		Root:          float32(1 / math.Sqrt(1-math.Pow(s.Beta2, float64(s.Step)))),
		Epsilon:       float32(s.Epsilon),
	}
}
