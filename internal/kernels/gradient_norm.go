package kernels

import "qlora-wgpu/gpu"

type gradientNormPartialParams struct {
	Count4, FirstBlock uint32
	Scale              float32
}

type gradientNormFinalParams struct {
	Count          uint32
	Scale, MaxNorm float32
}

var (
	gradientNormPartial = define("gradient_norm_partial", "iw", gradientNormPartialParams{})
	gradientNormFinal   = define("gradient_norm_final", "iw", gradientNormFinalParams{})
)

// FlatBlock is the unit of flat state, of StatBad and of moments in 8 bits, in elements.
const FlatBlock = 256

// gradientNormGroup is how many elements one workgroup of the first pass adds.
const gradientNormGroup = 4096

// GradientNormPartials is the number of rows that GradientNorm needs of its scratch tensor.
func GradientNormPartials(grads []*gpu.Tensor) (n int) {
	for _, g := range grads {
		n += g.Cols / FlatBlock
	}
	return n
}

// GradientNorm looks at all gradients and decides on the update. grads are flat F32 tensors [1, n], n a multiple of
// 256, and scale is what they must be multiplied by (1 / target tokens of the step):
//
//	stats[StatGradNorm] = norm = sqrt(sum((scale * grad)²))
//	stats[StatScale]    = scale * min(1, maxNorm / (norm + 1e-6)); maxNorm <= 0: scale
//	stats[StatSkip]     = 1, and stats[StatScale] = 0, where a gradient, the sum or stats[StatLoss] is not finite
//	stats[StatBad]      = first block of 256 with a non-finite gradient, or -1
//
// partials is scratch, U32 [>= GradientNormPartials(grads), 2]. Source: torch.nn.utils.clip_grad_norm_.
func GradientNorm(rec *gpu.Recorder, stats, partials *gpu.Tensor, grads []*gpu.Tensor, scale, maxNorm float32) {
	requireStats("gradient_norm", stats)
	total := GradientNormPartials(grads)
	require(partials.DType == gpu.U32 && partials.Cols == 2 && partials.Rows >= total, "gradient_norm",
		"partials are %d×%d, want %d×2", partials.Rows, partials.Cols, total)
	block := 0
	for _, g := range grads {
		requireFlat("gradient_norm", g)
		groups := ceilDiv(g.Cols, gradientNormGroup)
		rec.Dispatch(gradientNormPartial.spec(nil), groups, int64(4*g.Cols), gradientNormPartialParams{
			Count4: uint32(g.Cols / 4), FirstBlock: uint32(block), Scale: scale,
		}, g.Single(), partials.Single())
		block += g.Cols / FlatBlock
	}
	rec.Dispatch(gradientNormFinal.spec(nil), 1, int64(2*total), gradientNormFinalParams{
		Count: uint32(total), Scale: scale, MaxNorm: maxNorm,
	}, partials.Single(), stats.Single())
}

// requireFlat panics unless t is a buffer of flat trainable state.
func requireFlat(kernel string, t *gpu.Tensor) {
	require(t.DType == gpu.F32 && t.Rows == 1 && t.Cols%FlatBlock == 0, kernel,
		"%s is %d×%d, want 1×n with n a multiple of %d", t.Name, t.Rows, t.Cols, FlatBlock)
}
