package model

import (
	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/lora"
)

// ChunkTokens is how many tokens pass through the model's linears at once: no tensor but keys and values grows with the
// whole context. It decides the order in which the adapter's gradients are summed, so it is the same for every device
// and every plan: 1,024, or as many as every device binds of the model's widest activation.
func (m *Model) ChunkTokens() int { return chunkTokens(m.spec) }

func chunkTokens(shape spec.Spec) int {
	const most = 1024
	widest := int64(1)
	for i := range shape.Layers {
		for _, t := range shape.LayerTensors(i) {
			widest = max(widest, int64(t.Rows), int64(t.Cols))
		}
	}
	fit := gpu.DefaultLimits(0).MaxTensorBytes() / (widest * gpu.F32.Size(1))
	return int(max(1, min(most, fit)))
}

// Chunk is neighbouring tokens of a micro-batch. The model's activations are lists of tensors, one a chunk.
type Chunk struct {
	First, Tokens  int
	IDs, Positions *gpu.Tensor // U32 [T] of its tokens
	HostIDs        []uint32    // [T], for rows that the host gathers

	Rows    *gpu.Tensor // U32 [S]: supervised tokens, counted in the chunk
	Inverse *gpu.Tensor // U32 [T]: 1 + the place of each token in Rows, 0: none

	Supervised, FirstSupervised int
}

// of is a chunk's rows of a tensor of all tokens. An empty chunk begins where no slice could.
func (c Chunk) of(t *gpu.Tensor) *gpu.Tensor {
	if c.Tokens == 0 {
		return t.View(0, t.Cols)
	}
	return t.Slice(c.First, c.Tokens)
}

// size is how a program's micro-batches are cut: it is planned for tokens, and every micro-batch has as many chunks, of
// which the last may be empty.
type Size struct{ Tokens, Chunk int }

func (s Size) chunks() int { return max(1, (s.Tokens+s.Chunk-1)/s.Chunk) }

// part is the pass as a chunk's linears see it.
func (p *Pass) part(chunk int) *lora.Pass {
	part := p.Pass
	part.Chunk = chunk
	return &part
}

// NewChunks is a tensor [T, cols] for each chunk.
func (p *Pass) NewChunks(name string, cols int) []*gpu.Tensor {
	out := make([]*gpu.Tensor, len(p.Chunks))
	for i, c := range p.Chunks {
		out[i] = p.New(name, c.Tokens, cols)
	}
	return out
}
