package bench

import (
	"strings"

	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// FlopsFormula says what StepFlops counts.
const FlopsFormula = "2 T N K for each linear forward, again where it is computed anew (down_proj never is), and for dX (but not that of q, k and v in the first layer); " +
	"2 T r (N + K) forward, again (down_proj: 2 T r K), and twice backward for LoRA of rank r; 4 S V C for the head of V rows and S targets; " +
	"and for each pair of a query and a key that it sees, T (T + 1) / 2 of every head, 4 D in the attention's forward, again, and 10 D backward"

// StepFlops is what training on one sequence of so many tokens, some of them targets, has to compute: see FlopsFormula. Elementwise work is left out, and so is what
// a kernel computes twice.
func StepFlops(shape pretrained.Config, linears []*lora.Linear, rank, tokens, targets int, activations paging.Activations) (flops int64) {
	T, r := int64(tokens), int64(rank)
	attends, expands := int64(1), int64(1) // again: attention with its linears, and the MLP's
	switch activations {
	case paging.Keep:
		attends, expands = 0, 0
	case paging.Selective:
		attends = 0
	}
	for _, l := range linears {
		n, k := int64(l.Out), int64(l.In)
		attention := strings.Contains(l.Name, ".self_attn.")
		again := expands
		if attention {
			again = attends
		}
		products, narrow := 2+again, (3+again)*(n+k) // of T N K, and of T r
		if strings.HasSuffix(l.Name, ".down_proj") { // its output is not wanted again
			products, narrow = products-again, narrow-again*n
		}
		if attention && strings.HasPrefix(l.Name, "model.layers.0.") && !strings.HasSuffix(l.Name, ".o_proj") {
			products, narrow = products-1, narrow-k
		}
		flops += 2 * T * n * k * products
		if l.A != nil {
			flops += 2 * T * r * narrow
		}
	}
	pairs := int64(shape.NumAttentionHeads) * T * (T + 1) / 2
	flops += int64(shape.NumHiddenLayers) * int64(shape.HeadDim) * pairs * (4*(1+attends) + 10)
	return flops + 4*int64(targets)*int64(shape.VocabSize)*int64(shape.HiddenSize)
}
