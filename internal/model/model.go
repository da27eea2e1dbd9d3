// Package model is the decoder: blocks (embedding, attention, MLP, the head with its loss), the layers made of them by
// a family's description, the pass that carries a micro-batch through, and what loads and quantizes weights. Forward
// and backward of a block stand in one file; there is no tape.
//
// The frozen base needs only gradients to its inputs; weight gradients exist for the adapters alone and are added (+=)
// to flat state.
package model

import (
	"slices"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// Input is a micro-batch on the host: one flat list of T tokens, sequences one after another, never padded.
type Input struct {
	IDs       []uint32 // [T]
	Positions []uint32 // [T] within the token's sequence
	FirstKey  []uint32 // [T] where the token's sequence begins in the list
	Targets   []int32  // [T] the id to predict at this token, -100 for none
}

// Supervised lists the tokens with a target, and those targets.
func (in Input) Supervised() (rows, targets []uint32) {
	for i, t := range in.Targets {
		if t >= 0 {
			rows, targets = append(rows, uint32(i)), append(targets, uint32(t))
		}
	}
	return rows, targets
}

// First is the first n tokens alone.
func (in Input) First(n int) Input {
	return Input{IDs: in.IDs[:n], Positions: in.Positions[:n], FirstKey: in.FirstKey[:n], Targets: in.Targets[:n]}
}

// Pass carries one micro-batch through the model.
type Pass struct {
	lora.Pass
	Tokens     int
	Chunks     []Chunk
	Targets    *gpu.Tensor // U32 [S]
	Supervised int
	Loss       Loss           // what is computed of the supervised tokens; the cross-entropy unless it is set
	Rotary     []RotaryTables // by Attention.Rotary
	Stats      *gpu.Tensor    // [1, kernels.StatCount]: the loss is added to it
	Kept       gpu.DType      // F32 or BF16: what the backward needs is stored as
	Cache      *Cache         // of keys and values when generating
	Layer      int
	Positions  int // one past the last of the longest sequence, of which a pass may be a part
	// Observe is called with each tensor before it is freed, where its values are final; nil: nobody looks. A recording
	// cannot be looked into otherwise, and a port that drifts is found by comparing what its layers compute, one tensor
	// after the other (docs/porting-a-family.md).
	Observe func(t *gpu.Tensor)

	sequences struct{ firstKey, lastQuery []uint32 } // [T] which tokens see each other without a window
	visible   map[int]visible                        // by the window
}

// RotaryTables are those of a rotary embedding, one and the same for both but where queries are scaled by position.
type RotaryTables struct{ Queries, Keys RotaryTable }

// RotaryTable is [P, R/2] for R rotating dimensions.
type RotaryTable struct{ Cos, Sin *gpu.Tensor }

// NewPass uploads the micro-batch into tensors of the arena's running program, which was planned for size.
func NewPass(base lora.Pass, in Input, size Size) *Pass {
	p := &Pass{Pass: base, Tokens: len(in.IDs), Loss: CrossEntropy{}}
	rows, targets := in.Supervised()
	p.Supervised = len(rows)
	for i := range size.chunks() {
		first, end := min(i*size.Chunk, p.Tokens), min((i+1)*size.Chunk, p.Tokens)
		c := Chunk{First: first, Tokens: end - first, HostIDs: in.IDs[first:end]}
		c.IDs, c.Positions = p.upload("ids", c.HostIDs), p.upload("positions", in.Positions[first:end])
		if p.Supervised > 0 {
			c.supervise(rows, p.upload)
		}
		p.Chunks = append(p.Chunks, c)
	}
	for _, position := range in.Positions {
		p.Positions = max(p.Positions, int(position)+1)
	}
	p.sequences.firstKey, p.sequences.lastQuery = in.FirstKey, in.lastQuery()
	if p.Supervised > 0 {
		p.Targets = p.upload("targets", targets)
	}
	return p
}

// upload makes a tensor of values.
func (p *Pass) upload(name string, values []uint32) *gpu.Tensor {
	t := p.Arena.New(name, gpu.U32, 1, len(values))
	p.Rec.Upload(t.Single(), gpu.Uint32Bytes(values))
	return t
}

// supervise uploads which of the chunk's tokens have a target; rows lists those of the micro-batch, ascending.
func (c *Chunk) supervise(rows []uint32, upload func(name string, values []uint32) *gpu.Tensor) {
	from, _ := slices.BinarySearch(rows, uint32(c.First))
	to, _ := slices.BinarySearch(rows, uint32(c.First+c.Tokens))
	c.FirstSupervised, c.Supervised = from, to-from
	local, inverse := make([]uint32, c.Supervised), make([]uint32, c.Tokens)
	for i, row := range rows[from:to] {
		local[i] = row - uint32(c.First)
		inverse[local[i]] = uint32(i + 1)
	}
	c.Rows, c.Inverse = upload("supervised rows", local), upload("inverse rows", inverse)
}

// lastQuery is one past the last token of each token's sequence.
func (in Input) lastQuery() []uint32 {
	last := make([]uint32, len(in.IDs))
	for i := len(last) - 1; i >= 0; i-- {
		last[i] = uint32(len(last))
		if i+1 < len(last) && in.FirstKey[i+1] == in.FirstKey[i] {
			last[i] = last[i+1]
		} else if i+1 < len(last) {
			last[i] = uint32(i + 1)
		}
	}
	return last
}

// New is an F32 tensor of the arena, [rows, cols].
func (p *Pass) New(name string, rows, cols int) *gpu.Tensor {
	return p.Arena.New(name, gpu.F32, rows, cols)
}

// Free ends the life of tensors; nil is allowed.
func (p *Pass) Free(tensors ...*gpu.Tensor) {
	for _, t := range tensors {
		if t != nil {
			if p.Observe != nil {
				p.Observe(t)
			}
			p.Arena.Free(t)
		}
	}
}

// Norm is an RMSNorm with its place in the region.
type Norm struct {
	Weight string
	Eps    float32
}

// at is the norm with its weight where the layer's lie now.
func (n Norm) at(w paging.Weights) kernels.RMSNorm {
	return kernels.RMSNorm{Weight: w.Vector(n.Weight), Epsilon: n.Eps}
}

// Forward is y = norm(x).
func (n Norm) Forward(p *Pass, w paging.Weights, x *gpu.Tensor) *gpu.Tensor {
	y := p.New(n.Weight, x.Rows, x.Cols)
	kernels.RMSNormForward(p.Rec, y, x, n.at(w))
	return y
}

// before is norm(x), or x itself where there is no norm.
func (n *Norm) before(p *Pass, w paging.Weights, x *gpu.Tensor) *gpu.Tensor {
	if n == nil {
		return x
	}
	return n.Forward(p, w, x)
}

// free ends the life of what before gave.
func (n *Norm) free(p *Pass, normed *gpu.Tensor) {
	if n != nil {
		p.Free(normed)
	}
}

// addBack is dx with the gradient of x added, for d of what before gave: dx itself, or a tensor in its place.
func (n *Norm) addBack(p *Pass, w paging.Weights, dx, d, x *gpu.Tensor) *gpu.Tensor {
	if n != nil {
		n.BackwardAdd(p, w, dx, d, x)
		return dx
	}
	sum := p.New(dx.Name, dx.Rows, dx.Cols)
	kernels.ResidualAddForward(p.Rec, sum, dx, d, 1)
	p.Free(dx)
	return sum
}

// headsForward is y = the norm of each head of x, both [T, heads·dim].
func (n Norm) headsForward(p *Pass, w paging.Weights, y, x *gpu.Tensor, dim int) {
	kernels.RMSNormForward(p.Rec, byHeads(y, dim), byHeads(x, dim), n.at(w))
}

// headsBackward is dx = the gradient of x for dy of headsForward, all [T, heads·dim].
func (n Norm) headsBackward(p *Pass, w paging.Weights, dx, dy, x *gpu.Tensor, dim int) {
	kernels.RMSNormBackward(p.Rec, byHeads(dx, dim), byHeads(dy, dim), byHeads(x, dim), n.at(w), false)
}

// byHeads is x [T, heads·dim] with a row for each head.
func byHeads(x *gpu.Tensor, dim int) *gpu.Tensor { return x.View(x.Rows*x.Cols/dim, dim) }

// BackwardAdd is dx += the gradient of x for dy.
func (n Norm) BackwardAdd(p *Pass, w paging.Weights, dx, dy, x *gpu.Tensor) {
	kernels.RMSNormBackward(p.Rec, dx, dy, x, n.at(w), true)
}
