package bench

import (
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// FlopsFormula says what StepFlops counts.
const FlopsFormula = "2 T N K for each linear forward, again where it is computed anew (down_proj never is), and for dX (but not that of " +
	"q, k and v in the first layer); " +
	"2 T r (N + K) forward, again (down_proj: 2 T r K), and twice backward for LoRA of rank r; 4 S V C for the head of V rows and " +
	"S targets; " +
	"and for each pair of a query and a key that it sees, T (T + 1) / 2 of every head or fewer with a window, 4 D in the " +
	"attention's forward, again, and 10 D backward"

// StepFlops is what training on one sequence of so many tokens, some of them targets, has to compute: see FlopsFormula.
// Elementwise work is left out, and so is what a kernel computes twice.
func StepFlops(shape spec.Spec, linears []*lora.Linear, rank, tokens, targets int, activations paging.Activations) (flops int64) {
	T, r := int64(tokens), int64(rank)
	attends, expands := int64(1), int64(1) // again: attention with its linears, and the MLP's
	switch activations {
	case paging.Keep:
		attends, expands = 0, 0
	case paging.Selective:
		attends = 0
	}
	var matrices []spec.Tensor // the linears'
	for _, t := range shape.Tensors() {
		if t.Role == spec.Matrix {
			matrices = append(matrices, t)
		}
	}
	for i, l := range linears {
		n, k, t := int64(l.Out), int64(l.In), matrices[i]
		attention := t.InAttention()
		again := expands
		if attention {
			again = attends
		}
		products, narrow := 2+again, (3+again)*(n+k) // of T N K, and of T r
		if t.Module == spec.DownProj {               // its output is not wanted again
			products, narrow = products-again, narrow-again*n
		}
		if attention && t.Layer == 0 && t.Module != spec.OProj {
			products, narrow = products-1, narrow-k
		}
		flops += 2 * T * n * k * products
		if l.A != nil {
			flops += 2 * T * r * narrow
		}
	}
	for _, l := range shape.Layers {
		seen := T
		if l.Window > 0 {
			seen = min(T, int64(l.Window)) // from so many queries on no more are added
		}
		pairs := int64(l.Heads) * (seen*(seen+1)/2 + (T-seen)*seen)
		flops += int64(l.HeadDim) * pairs * (4*(1+attends) + 10)
	}
	return flops + 4*int64(targets)*int64(shape.Vocab)*int64(shape.Hidden)
}
