package opcases

import (
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/reference"
)

var _ = register(rmsNorm)

// Sums of up to 4096 f32 products and one inverseSqrt (2 ulp): a relative error near 1e-7, so an NMSE near 1e-14.
const rmsNormAllowance = 1e-12

func rmsNorm() (cases []Case) {
	const eps = 1e-5 // beside squares of 4e-4: enough to be missed
	// 64 invocations take a vec4 each: 252, 256 and 260 columns lie around one round of them.
	for _, s := range [][2]int{{1, 4}, {2, 252}, {5, 256}, {33, 260}, {37, 576}, {3, 4096}} {
		T, C := s[0], s[1]
		shape := fmt.Sprintf("T=%d C=%d", T, C)
		cases = append(cases, Case{Op: "rms_norm_forward", Shape: shape, Run: func(b *Bench) {
			x, w := b.Values(T*C, 0.02), b.Values(C, 1)
			want, _ := reference.RMSNormForward(float64s(x), float64s(w), float64(float32(eps)))
			xs, norm := b.Input("x", gpu.F32, T, C, x), kernels.RMSNorm{Weight: b.vector("weight", w), Epsilon: eps}
			y := b.Output("y", T, C, nil, want, rmsNormAllowance)
			b.Record(func() { kernels.RMSNormForward(b.Rec, y, xs, norm) })
		}})
		for _, accumulate := range []bool{false, true} {
			cases = append(cases, Case{Op: "rms_norm_backward", Shape: fmt.Sprintf("%s accumulate=%v", shape, accumulate), Run: func(b *Bench) {
				x, dy, w := b.Values(T*C, 0.02), b.Values(T*C, 1), b.Values(C, 1)
				want := reference.RMSNormBackward(float64s(dy), float64s(x), float64s(w), float64(float32(eps)))
				var initial []float32
				if accumulate {
					initial = b.Values(T*C, 1)
					for i, v := range initial {
						want[i] += float64(v)
					}
				}
				xs, dys := b.Input("x", gpu.F32, T, C, x), b.Input("dy", gpu.F32, T, C, dy)
				norm := kernels.RMSNorm{Weight: b.vector("weight", w), Epsilon: eps}
				dx := b.Output("dx", T, C, initial, want, rmsNormAllowance)
				b.Record(func() { kernels.RMSNormBackward(b.Rec, dx, dys, xs, norm, accumulate) })
			}})
		}
	}
	return cases
}

// vector puts values into the middle of a region of other numbers.
func (b *Bench) vector(name string, values []float32) kernels.Vector {
	const before = 128
	region := append(b.Values(before, 1), values...)
	region = append(region, b.Values(64, 1)...)
	return kernels.Vector{Range: b.Input(name, gpu.F32, 1, len(region), region).Single(), Offset: before}
}
