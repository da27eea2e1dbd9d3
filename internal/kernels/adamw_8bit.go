package kernels

import (
	"qlora-wgpu/doublequant"
	"qlora-wgpu/gpu"
)

var adamW8bitStep = define("adamw_8bit_step", "iiwwww", adamWParams{})

// MomentWords are the 4-byte words in which a block of 256 elements keeps one moment in 8 bits: 64 of four codes, then
// the block's absmax.
const MomentWords = FlatBlock/4 + 1

// DynamicMaps makes the two 8-bit maps, signed and unsigned, that AdamW8bitStep looks its codes up in: F32 [1, 512].
func DynamicMaps(dev *gpu.Device) (*gpu.Tensor, error) {
	t, err := dev.NewTensor("dynamic maps", gpu.F32, 1, 512)
	if err != nil {
		return nil, err
	}
	return t, t.WriteFloat32(append(doublequant.SignedMap[:], doublequant.UnsignedMap[:]...))
}

// AdamW8bitStep is AdamWStep with moments in 8 bits, block-wise over 256 elements. Fresh moments are all zero bytes. By
// bitsandbytes' rules the update takes the moments before they are rounded to 8 bits, the decay comes after the update,
// and a negative m never becomes zero:
//
//	g = grad * stats[StatScale]
//	m = beta1*decoded m + (1-beta1)*g;  v = beta2*decoded v + (1-beta2)*g²
//	param -= lr/(1-beta1^step) * m / (sqrt(v)/sqrt(1-beta2^step) + epsilon)
//	param *= 1 - lr*weight_decay
//	grad = 0
//
// Where stats[StatSkip] is not 0 only grad is zeroed (bitsandbytes zeroes the moments of the elements concerned
// instead).
// Sources: 8-bit Optimizers via Block-wise Quantization (arXiv 2110.02861); bitsandbytes'
// kOptimizerStatic8bit2StateBlockwise.
func AdamW8bitStep(rec *gpu.Recorder, t AdamWTensors, s AdamW) {
	const kernel = "adamw_8bit_step"
	requireStats(kernel, t.Stats)
	requireFlat(kernel, t.Param)
	sameShape(kernel, t.Param, t.Grad)
	n := t.Param.Cols
	for _, m := range []*gpu.Tensor{t.M, t.V} {
		require(m.DType == gpu.U32 && m.Rows == n/FlatBlock && m.Cols == MomentWords, kernel,
			"%s is %d×%d, want %d×%d words", m.Name, m.Rows, m.Cols, n/FlatBlock, MomentWords)
	}
	require(t.Maps.DType == gpu.F32 && t.Maps.Cols == 512, kernel, "maps are %d×%d, want 1×512", t.Maps.Rows, t.Maps.Cols)
	rec.Dispatch(adamW8bitStep.spec(nil), ceilDiv(n, 1024), int64(64*n), s.params(kernel, n),
		t.Stats.Single(), t.Maps.Single(), t.Param.Single(), t.Grad.Single(), t.M.Single(), t.V.Single())
}
