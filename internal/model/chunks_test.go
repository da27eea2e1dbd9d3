package model

import (
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/pretrained"
)

// A chunk of every common model's widest activation can be bound on every device; those with room for 1,024 tokens have
// as many.
func TestChunksCanBeBound(t *testing.T) {
	limit := int(gpu.DefaultLimits(0).MaxTensorBytes())
	for _, name := range pretrained.ShapeNames() {
		shape, _ := pretrained.Shape(name)
		l := shape.Layers[0]
		widest := max(l.MLP, (l.Heads+2*l.KVHeads)*l.HeadDim)
		if l.FusedMLP {
			widest = max(widest, 2*l.MLP)
		}
		n := chunkTokens(shape)
		require.LessOrEqual(t, 4*widest*n, limit, name)
		require.True(t, n == 1024 || 4*widest*(n+1) > limit, "%s: %d tokens", name, n)
	}
	for name, want := range map[string]int{"llama-3.1-8b": 1024, "qwen3-32b": 1024, "gemma-2-27b": 910, "phi-4": 936} {
		shape, _ := pretrained.Shape(name)
		require.Equal(t, want, chunkTokens(shape), name)
	}
	shape, _ := pretrained.Shape("phi-4")
	shape.Layers[0].MLP = 1 << 28
	require.Equal(t, 1, chunkTokens(shape), "the least")
}
