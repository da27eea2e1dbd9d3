package convert

import (
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/lora"
)

// BenchmarkMerge adds an adapter of rank 16 to a matrix and rounds the sum, on one core.
func BenchmarkMerge(b *testing.B) {
	const n, rank = 2048, 16
	shape := spec.Spec{Family: "LlamaForCausalLM", Hidden: n, Vocab: 16, MaxPositions: 8, Layers: []spec.Layer{{
		Heads: 16, KVHeads: 16, HeadDim: n / 16, MLP: 64, RoPE: &spec.RoPE{Dim: n / 16, Theta: 1e4},
	}}}
	model := pretrained.Made("made", shape, func(_ spec.Tensor, first int, dst []float32) {
		for i := range dst {
			dst[i] = float32((first+i)%1000)*1e-4 - 0.05
		}
	})
	values := func(n int) []float32 {
		x := make([]float32, n)
		for i := range x {
			x[i] = float32(i%100)*1e-3 - 0.05
		}
		return x
	}
	const linear = "model.layers.0.self_attn.q_proj"
	files, err := lora.Assemble(lora.Origin{Path: "made"}, map[string]lora.Product{
		linear: {Rank: rank, Scaling: 2, A: values(rank * n), B: values(n * rank)},
	})
	require.NoError(b, err)
	w, _, err := New(model, []*lora.Files{files}, Base{})
	require.NoError(b, err)
	tensor := w.Open(linear + ".weight")
	b.SetBytes(n * n * 2)
	for b.Loop() {
		for _, p := range tensor.pieces(BF16) {
			if _, err := p(); err != nil {
				b.Fatal(err)
			}
		}
	}
}
