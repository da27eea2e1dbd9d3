package kernels

import "qlora-wgpu/gpu"

// The uniform variants of the products read activations through uniform arrays: windows of ChunkTokens tokens ×
// ChunkColumns columns of float32, which is what every device binds.
const (
	ChunkColumns = 512
	ChunkTokens  = gpu.UniformBytes / 4 / ChunkColumns
)

// tailTokens is the tile of an activation's last window with no more tokens than that, where ChunkTokens would compute
// many that are not there.
const tailTokens = 8

// windowTile is the kernel for a window of so many tokens, and the tokens of its tile. A token's sums are the same in
// both tiles.
func windowTile(spec gpu.KernelSpec, tokens int) (gpu.KernelSpec, int) {
	if tokens > tailTokens {
		return spec, ChunkTokens
	}
	spec.Constants = with(spec.Constants, "TILE_T", tailTokens)
	return spec, tailTokens
}

type packChunksParams struct{ Tokens, FirstToken, Pitch, Cols4, FirstCol4, Width4 uint32 }

var packChunksForward = define("pack_chunks_forward", "iw", packChunksParams{})

// packed is an activation in chunks of ChunkColumns columns.
type packed struct {
	buffer *gpu.Buffer
	padded int // tokens, a multiple of ChunkTokens
}

// packChunks cuts x [T, C] into windows in a uniform scratch, unless they are there from an earlier product with x.
func packChunks(rec *gpu.Recorder, scratch gpu.Scratch, x *gpu.Tensor) packed {
	padded := ceilDiv(x.Rows, ChunkTokens) * ChunkTokens
	chunks := ceilDiv(x.Cols, ChunkColumns)
	if b := rec.HoldsFrom(scratch, x); b != nil {
		return packed{buffer: b, padded: padded}
	}
	buffer := rec.UniformScratch(scratch, gpu.F32.Size(chunks*padded*ChunkColumns))
	p := packed{buffer: buffer, padded: padded}
	// As many chunks as can be bound at once, and where that is none, as many tokens of one.
	tokens := int(rec.Device().Limits.MaxBindingBytes / gpu.UniformBytes * ChunkTokens)
	switch {
	case padded == 0: // a chunk without tokens
	case tokens >= padded:
		together := tokens / padded
		for c := 0; c < chunks; c += together {
			p.fill(rec, x, c, min(together, chunks-c), 0, padded)
		}
	default:
		for c := range chunks {
			for t := 0; t < padded; t += tokens {
				p.fill(rec, x, c, 1, t, min(tokens, padded-t))
			}
		}
	}
	rec.FilledFrom(scratch, x)
	return p
}

// fill packs some tokens of some chunks, which lie together in p.
func (p packed) fill(rec *gpu.Recorder, x *gpu.Tensor, chunk, chunks, firstToken, tokens int) {
	first := chunk * ChunkColumns
	width4 := (min(x.Cols, first+chunks*ChunkColumns) - first) / 4
	rec.Dispatch(packChunksForward.spec(nil), ceilDiv(tokens*width4, 64), int64(4*tokens*width4), packChunksParams{
		Tokens: uint32(x.Rows), FirstToken: uint32(firstToken), Pitch: uint32(tokens), Cols4: uint32(x.Cols / 4),
		FirstCol4: uint32(first / 4), Width4: uint32(width4),
	}, x.Single(), gpu.Range{
		Buffer: p.buffer, Offset: gpu.F32.Size((chunk*p.padded + firstToken) * ChunkColumns), Size: gpu.F32.Size(chunks * tokens * ChunkColumns),
	})
}

// packFlat copies x [T, C] as it is into a uniform scratch, in the layout of one token with T·C columns, unless it is
// there from an earlier product with x.
func packFlat(rec *gpu.Recorder, x *gpu.Tensor) *gpu.Buffer {
	if b := rec.HoldsFrom(scratchFlat, x); b != nil {
		return b
	}
	count4 := uint32(x.Rows * x.Cols / 4)
	size := gpu.F32.Size(ceilDiv(x.Rows*x.Cols, ChunkColumns) * ChunkColumns)
	buffer := rec.UniformScratch(scratchFlat, size)
	rec.Dispatch(packChunksForward.spec(nil), ceilDiv(int(count4), 64), int64(4*count4), packChunksParams{
		Tokens: 1, Pitch: 1, Cols4: count4, Width4: count4,
	}, x.Single(), gpu.Range{Buffer: buffer, Size: size})
	rec.FilledFrom(scratchFlat, x)
	return buffer
}

// PackChunksForward is the packing alone, as the self-check looks at it: the range holds [chunks, T rounded up to
// ChunkTokens, ChunkColumns].
func PackChunksForward(rec *gpu.Recorder, x *gpu.Tensor) gpu.Range {
	p := packChunks(rec, scratchWide, x)
	return gpu.Range{Buffer: p.buffer, Size: gpu.F32.Size(ceilDiv(x.Cols, ChunkColumns) * p.padded * ChunkColumns)}
}

// window is ChunkTokens tokens of one chunk.
func (p packed) window(chunk, firstToken int) gpu.Range {
	return gpu.Range{Buffer: p.buffer, Offset: gpu.F32.Size((chunk*p.padded + firstToken) * ChunkColumns), Size: gpu.UniformBytes}
}
