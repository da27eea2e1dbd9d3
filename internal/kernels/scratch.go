package kernels

import "qlora-wgpu/gpu"

// What the uniform variants keep in scratch buffers: an activation or its gradient in chunks; LoRA's A in chunks, or an
// operand that is as narrow as the rank as it is; an activation of a few tokens as it is; attention's operands by
// heads. What the variants for GPUs keep: the same in blocks.
const (
	scratchWide gpu.Scratch = iota
	scratchNarrow
	scratchFlat
	scratchQueries
	scratchKeys
	scratchValues
	scratchGradients // of the output
	scratchTiles
	scratchNarrowTiles
	scratchQueryTiles
	scratchKeyTiles
	scratchValueTiles
	scratchGradientTiles // of the output
	scratchParts         // of a product's sums
)
