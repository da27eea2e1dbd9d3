package trainer

import (
	"strings"

	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/lora"
)

// FlopsFormula says what stepFlops counts.
const FlopsFormula = "2 T N K for each linear forward, again where a layer is computed anew (but not down_proj), and for dX (but not that of q, k and v in the first layer); " +
	"2 T r (N + K) forward, again (down_proj: 2 T r K), and twice backward for LoRA of rank r; 4 T V C for the head of V rows; " +
	"and for each pair of a query and a key that it sees, T (T + 1) / 2 of every head, 4 D in the attention's forward, again, and 10 D backward"

// stepFlops is what training on one sequence of so many tokens, each with a target, has to compute: see FlopsFormula. Elementwise work is left out, and so is what
// a kernel computes twice.
func stepFlops(shape pretrained.Config, linears []*lora.Linear, rank, tokens int, recompute bool) (flops int64) {
	again := int64(0)
	if recompute {
		again = 1
	}
	T, r := int64(tokens), int64(rank)
	for _, l := range linears {
		n, k := int64(l.Out), int64(l.In)
		last := strings.HasSuffix(l.Name, ".down_proj") // its output is not wanted again
		first := strings.HasPrefix(l.Name, "model.layers.0.self_attn.") && !strings.HasSuffix(l.Name, ".o_proj")
		products := 2 + again // of T N K
		narrow := 2*n + 2*k + (1+again)*(n+k)
		if last {
			products, narrow = products-again, narrow-again*n
		}
		if first {
			products, narrow = products-1, narrow-k
		}
		flops += 2 * T * n * k * products
		if l.A != nil {
			flops += 2 * T * r * narrow
		}
	}
	pairs := int64(shape.NumAttentionHeads) * T * (T + 1) / 2
	flops += int64(shape.NumHiddenLayers) * int64(shape.HeadDim) * pairs * (4*(1+again) + 10)
	return flops + 4*T*int64(shape.VocabSize)*int64(shape.HiddenSize)
}
