package model

import (
	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/paging"
)

// Head is the final norm, the output embedding and the cross-entropy. Only supervised tokens pass through it, in chunks, so that all logits
// never exist at once.
type Head struct {
	Norm  Norm
	Table *paging.Table // [V, C]
	Vocab int
}

// lossChunk is how many supervised tokens have logits at a time.
const lossChunk = 128

// Loss adds the losses of the supervised tokens of x [T, C] to p.Stats. With gradient it returns dx [T, C] of their sum; x is freed in any case.
func (h *Head) Loss(p *Pass, w paging.Weights, x *gpu.Tensor, gradient bool) (dx *gpu.Tensor) {
	S, C := p.Supervised, x.Cols
	rows := p.New("supervised", S, C)
	kernels.GatherRows(p.Rec, rows, x, p.Rows)
	tokens := x.Rows
	p.Free(x)
	normed := h.Norm.Forward(p, w, rows)
	losses, hits := p.New("losses", 1, S), p.New("hits", 1, S)
	var dNormed *gpu.Tensor
	if gradient {
		dNormed = p.New("d normed", S, C)
	}
	chunk := min(lossChunk, h.rowsThatFit(p.Rec.Device()))
	logits := p.New("logits", min(chunk, S), h.Table.Rows)
	for first := 0; first < S; first += chunk {
		n := min(chunk, S-first)
		part := logits.View(n, logits.Cols)
		h.product(p, part, normed.Slice(first, n))
		if gradient {
			kernels.CrossEntropyForwardBackward(p.Rec, part, h.Vocab, p.Targets, losses, hits, first)
			dx := dNormed.Slice(first, n)
			h.Table.Each(p.Rec, func(rows *gpu.Tensor, begin bool) { kernels.MatmulBackward(p.Rec, dx, part, rows, 1, !begin) })
		} else {
			kernels.CrossEntropyForward(p.Rec, part, h.Vocab, p.Targets, losses, hits, first)
		}
	}
	kernels.LossSum(p.Rec, p.Stats, losses, hits, S)
	p.Free(logits, losses, hits, normed)
	if gradient {
		dRows := p.New("d supervised", S, C)
		kernels.RMSNormBackward(p.Rec, dRows, dNormed, rows, w.Vector(h.Norm.Weight), h.Norm.Eps, false)
		p.Free(dNormed)
		dx = p.New("dx", tokens, C)
		kernels.ScatterRows(p.Rec, dx, dRows, p.Inverse)
		p.Free(dRows)
	}
	p.Free(rows)
	return dx
}

// product is logits [S, V] = x [S, C] times the table, by its pages where it is streamed.
func (h *Head) product(p *Pass, logits, x *gpu.Tensor) {
	h.Table.Each(p.Rec, func(rows *gpu.Tensor, _ bool) { kernels.MatmulForward(p.Rec, logits, x, rows, 1, false) })
}

// rowsThatFit is how many rows of logits one binding holds, in steps of 16, at which slices of any width start on a binding boundary.
func (h *Head) rowsThatFit(dev *gpu.Device) int {
	return max(16, int(dev.Limits.MaxBindingBytes/(4*int64(h.Table.Rows)))/16*16)
}

// Logits is the last token's logits [1, V padded] of x [T, C], which is freed.
func (h *Head) Logits(p *Pass, w paging.Weights, x *gpu.Tensor) *gpu.Tensor {
	last := p.Arena.New("last row", gpu.U32, 1, 1)
	p.Rec.Upload(last.Single(), gpu.Uint32Bytes([]uint32{uint32(x.Rows - 1)}))
	row := p.New("last token", 1, x.Cols)
	kernels.GatherRows(p.Rec, row, x, last)
	p.Free(x)
	normed := h.Norm.Forward(p, w, row)
	logits := p.New("logits", 1, h.Table.Rows)
	h.product(p, logits, normed)
	return logits
}
