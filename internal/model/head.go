package model

import (
	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/paging"
)

// Head is the final norm and the output embedding, with the pass's loss. Only supervised tokens pass through it, in
// chunks, so that all logits never exist at once.
type Head struct {
	Norm  Norm
	Table *paging.Table // [V, C]
	Vocab int
	Scale float32 // of the logits
	// SoftCap makes logits cap·tanh(logits/cap), behind the scale; 0: none.
	SoftCap float32
}

// LossTokens is how many supervised tokens have logits at a time.
const LossTokens = 128

// Loss adds the losses of the supervised tokens of x [T, C] to p.Stats. With gradient it returns dx [T, C] of their
// sum; x is freed in any case.
func (h *Head) Loss(p *Pass, w paging.Weights, x []*gpu.Tensor, gradient bool) (dx []*gpu.Tensor) {
	losses, hits := p.New("losses", 1, p.Supervised), p.New("hits", 1, p.Supervised)
	size := min(LossTokens, h.rowsThatFit(p.Rec.Device()))
	logits := p.New("logits", min(size, p.Supervised), h.Table.Rows)
	for i, c := range p.Chunks {
		rows := p.New("supervised", c.Supervised, x[i].Cols)
		kernels.GatherRows(p.Rec, rows, x[i], c.Rows)
		p.Free(x[i])
		normed := h.Norm.Forward(p, w, rows)
		var dNormed *gpu.Tensor
		if gradient {
			dNormed = p.New("d normed", c.Supervised, rows.Cols)
		}
		for first := 0; first < c.Supervised; first += size {
			n := min(size, c.Supervised-first)
			part := logits.View(n, logits.Cols)
			h.product(p, part, normed.Slice(first, n))
			p.Loss.Rows(p.Rec, LossRows{
				Logits: part, Vocab: h.Vocab, SoftCap: h.SoftCap, First: c.FirstSupervised + first, Targets: p.Targets, Losses: losses, Hits: hits,
			}, gradient)
			if !gradient {
				continue
			}
			dx := dNormed.Slice(first, n)
			h.Table.Each(p.Rec, func(rows *gpu.Tensor, begin bool) { kernels.MatmulBackward(p.Rec, dx, part, rows, h.Scale, !begin) })
		}
		p.Free(normed)
		if gradient {
			dx = append(dx, h.normBackward(p, w, c, dNormed, rows))
		}
		p.Free(rows)
	}
	kernels.LossSum(p.Rec, p.Stats, losses, hits, p.Supervised)
	p.Free(logits, losses, hits)
	return dx
}

// normBackward is the gradient [T, C] of a chunk's tokens for that of the normed rows [S, C] that are supervised, which
// is freed.
func (h *Head) normBackward(p *Pass, w paging.Weights, c Chunk, dNormed, rows *gpu.Tensor) *gpu.Tensor {
	dRows := p.New("d supervised", c.Supervised, rows.Cols)
	kernels.RMSNormBackward(p.Rec, dRows, dNormed, rows, h.Norm.at(w), false)
	p.Free(dNormed)
	dx := p.New("dx", c.Tokens, rows.Cols)
	kernels.ScatterRows(p.Rec, dx, dRows, c.Inverse)
	p.Free(dRows)
	return dx
}

// product is logits [S, V] = x [S, C] times the table, by its pages where it is streamed.
func (h *Head) product(p *Pass, logits, x *gpu.Tensor) {
	h.Table.Each(p.Rec, func(rows *gpu.Tensor, _ bool) { kernels.MatmulForward(p.Rec, logits, x, rows, h.Scale, false) })
	if h.SoftCap != 0 {
		kernels.SoftCapForward(p.Rec, logits, h.SoftCap)
	}
}

// rowsThatFit is how many rows of logits one binding holds, in steps of 16, at which slices of any width start on a
// binding boundary.
func (h *Head) rowsThatFit(dev *gpu.Device) int {
	return max(16, int(dev.Limits.MaxBindingBytes/(4*int64(h.Table.Rows)))/16*16)
}

// Logits is the last token's logits [1, V padded] of x [T, C], a single chunk, which is freed.
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
