package kernels

import "qlora-wgpu/gpu"

type packHeadsParams struct{ Rows, GroupHeads, KvHeads, HeadDim4, Windows, First4, Count4 uint32 }

var packHeadsForward = define("pack_heads_forward", "iw", packHeadsParams{})

// heads is q, k, v or a gradient of one, cut by key/value heads into windows that can be bound as uniform arrays.
type heads struct {
	buffer  *gpu.Buffer
	rows    int // of a key/value head: tokens times the heads of its group
	each    int // rows in a window
	windows int // of a head
}

// packHeads cuts x [T, kvHeads·G·headDim] into windows in a uniform scratch, unless they are there from before.
func packHeads(rec *gpu.Recorder, scratch gpu.Scratch, x *gpu.Tensor, kvHeads, headDim int) heads {
	const window4 = gpu.UniformBytes / 16
	h := heads{rows: x.Rows * x.Cols / (kvHeads * headDim), each: window4 / (headDim / 4)}
	h.windows = ceilDiv(h.rows, h.each)
	if h.buffer = rec.HoldsFrom(scratch, x); h.buffer != nil {
		return h
	}
	count4 := kvHeads * h.windows * window4
	h.buffer = rec.UniformScratch(scratch, int64(16*count4))
	piece := max(1, int(rec.Device().Limits.MaxBindingBytes/gpu.UniformBytes)) * window4 // what can be bound at once
	for first := 0; first < count4; first += piece {
		n := min(piece, count4-first)
		rec.Dispatch(packHeadsForward.spec(nil), ceilDiv(n, 64), int64(4*n), packHeadsParams{
			Rows: uint32(h.rows), GroupHeads: uint32(x.Cols / (kvHeads * headDim)), KvHeads: uint32(kvHeads), HeadDim4: uint32(headDim / 4),
			Windows: uint32(h.windows), First4: uint32(first), Count4: uint32(n),
		}, x.Single(), gpu.Range{Buffer: h.buffer, Offset: int64(16 * first), Size: int64(16 * n)})
	}
	rec.FilledFrom(scratch, x)
	return h
}

// PackHeadsForward is the packing alone, as the self-check looks at it: the range holds [kvHeads, windows, 64 KiB].
func PackHeadsForward(rec *gpu.Recorder, x *gpu.Tensor, kvHeads, headDim int) gpu.Range {
	h := packHeads(rec, scratchQueries, x, kvHeads, headDim)
	return gpu.Range{Buffer: h.buffer, Size: int64(kvHeads*h.windows) * gpu.UniformBytes}
}

// window is the rows from each·i on of one key/value head.
func (h heads) window(kvHead, i int) gpu.Range {
	return gpu.Range{Buffer: h.buffer, Offset: int64(kvHead*h.windows+i) * gpu.UniformBytes, Size: gpu.UniformBytes}
}

// span is the first row of a window and one past its last.
func (h heads) span(i int) (first, end int) { return i * h.each, min((i+1)*h.each, h.rows) }
