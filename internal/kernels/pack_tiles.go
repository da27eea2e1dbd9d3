package kernels

import "qlora-wgpu/gpu"

// The tiled variants read activations from blocks of BlockTokens tokens, column by column, padded to a multiple of
// BlockColumns.
const (
	BlockTokens  = 64
	BlockColumns = 16
)

type packTilesParams struct{ Tokens, FirstToken, Cols4, Padded16 uint32 }

var packTilesForward = define("pack_tiles_forward", "iw", packTilesParams{})

// blocks is an activation in such blocks.
type blocks struct {
	buffer       *gpu.Buffer
	tokens, cols int
	padded16     int // columns / 16, rounded up
	piece        int // tokens that one binding holds
}

// bytes of a block
func (b blocks) bytes() int64 { return gpu.F32.Size(BlockTokens * BlockColumns * b.padded16) }

// tilesFit reports whether a block of an activation of so many columns can be bound.
func tilesFit(dev *gpu.Device, cols int) bool {
	return blocks{padded16: ceilDiv(cols, BlockColumns)}.bytes() <= dev.Limits.MaxBindingBytes
}

// packTiles lays out what a product multiplies: LoRA's narrow products come between those with one wide activation.
func packTiles(rec *gpu.Recorder, x *gpu.Tensor) blocks {
	if x.Cols <= 64 {
		return packTilesIn(rec, scratchNarrowTiles, x)
	}
	return packTilesIn(rec, scratchTiles, x)
}

// packTilesIn lays x [T, C] out in blocks in a scratch, unless they are there from before.
func packTilesIn(rec *gpu.Recorder, scratch gpu.Scratch, x *gpu.Tensor) blocks {
	b := blocks{tokens: x.Rows, cols: x.Cols, padded16: ceilDiv(x.Cols, BlockColumns)}
	block := b.bytes()
	fit := int(rec.Device().Limits.MaxBindingBytes / block)
	b.piece = max(1, fit-fit%2) * BlockTokens // the largest tile takes two blocks
	if b.buffer = rec.HoldsFrom(scratch, x); b.buffer != nil {
		return b
	}
	b.buffer = rec.UniformScratch(scratch, block*int64(ceilDiv(x.Rows, BlockTokens)))
	b.pieces(func(first, tokens int, r gpu.Range) {
		rec.Dispatch(packTilesForward.spec(nil), ceilDiv(tokens, BlockTokens)*b.padded16, int64(4*tokens*x.Cols), packTilesParams{
			Tokens: uint32(x.Rows), FirstToken: uint32(first), Cols4: uint32(x.Cols / 4), Padded16: uint32(b.padded16),
		}, x.Single(), r)
	})
	rec.FilledFrom(scratch, x)
	return b
}

// pieces calls record for each piece of the tokens that can be bound at once: one, but for activations near the limit
// of a binding.
func (b blocks) pieces(record func(first, tokens int, r gpu.Range)) {
	block := b.bytes()
	for first := 0; first < b.tokens; first += b.piece {
		tokens := min(b.piece, b.tokens-first)
		record(first, tokens, gpu.Range{
			Buffer: b.buffer, Offset: int64(first/BlockTokens) * block, Size: int64(ceilDiv(tokens, BlockTokens)) * block,
		})
	}
}

// all is the whole activation, where one binding holds it.
func (b blocks) all() gpu.Range {
	return gpu.Range{Buffer: b.buffer, Size: b.bytes() * int64(ceilDiv(b.tokens, BlockTokens))}
}

// packedBytes is the size of x in blocks.
func packedBytes(x *gpu.Tensor) int64 {
	return blocks{padded16: ceilDiv(x.Cols, BlockColumns)}.bytes() * int64(ceilDiv(x.Rows, BlockTokens))
}

// PackTilesForward is the packing alone, as the self-check looks at it: the range holds [T / BlockTokens rounded up, C
// rounded up to BlockColumns, BlockTokens].
func PackTilesForward(rec *gpu.Recorder, x *gpu.Tensor) gpu.Range {
	return packTiles(rec, x).all()
}
