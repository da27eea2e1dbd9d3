// Package optim holds the trainable state of a run and its update.
package optim

import (
	"context"
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
)

// BlockElements is the alignment of every tensor in flat state: pages, norms and non-finite blocks count in it.
const BlockElements = 256

// Entry is one trainable tensor's place in flat state.
type Entry struct {
	Name       string
	Rows, Cols int
	Buffer     int // which flat buffer
	First      int // its first element there, a multiple of BlockElements
}

// Options of the state.
type Options struct {
	// EightBit keeps moments in 8 bits, block-wise over BlockElements (arXiv 2110.02861). As in bitsandbytes, tensors of fewer than 4,096 elements keep
	// them in 32.
	EightBit bool
}

// minEightBit is the fewest elements of a tensor whose moments are kept in 8 bits.
const minEightBit = 4096

// State is the flat trainable state: parameters, gradients and both moments lie in buffers of the same layout, each tensor
// aligned to BlockElements and none across two buffers. Norm, clip, update, checkpoints and pages work on ranges of it and know no tensor.
//
// The moments of a buffer of n elements are F32 [1, n], or U32 [n/BlockElements, kernels.MomentWords] where they are kept in 8 bits: either way a block is
// a run of bytes of one length, so a page is a range of blocks.
type State struct {
	Entries           []Entry
	Param, Grad, M, V []*gpu.Tensor // one a buffer; Param and Grad F32 [1, n]
	Stats, partials   *gpu.Tensor
	maps              *gpu.Tensor // of 8-bit moments; nil where there are none
	index             map[string]int
}

// NewState lays the tensors (name, rows, cols) out and makes the zeroed buffers.
func NewState(dev *gpu.Device, tensors []Entry, o Options) (*State, error) {
	s := &State{index: map[string]int{}}
	limit := int(dev.Limits.MaxBindingBytes / 4 / BlockElements * BlockElements)
	var buffers []buffer
	open := map[bool]int{} // the buffer being filled with entries of either kind
	for _, e := range tensors {
		n := (e.Rows*e.Cols + BlockElements - 1) / BlockElements * BlockElements
		if n > limit {
			panic(fmt.Sprintf("optim: %s of %d×%d exceeds a buffer of %d elements", e.Name, e.Rows, e.Cols, limit))
		}
		eightBit := o.EightBit && e.Rows*e.Cols >= minEightBit
		at, ok := open[eightBit]
		if !ok || buffers[at].elements+n > limit {
			at = len(buffers)
			open[eightBit] = at
			buffers = append(buffers, buffer{eightBit: eightBit})
		}
		e.Buffer, e.First = at, buffers[at].elements
		buffers[at].elements += n
		s.index[e.Name] = len(s.Entries)
		s.Entries = append(s.Entries, e)
	}
	if err := s.makeBuffers(dev, buffers); err != nil {
		s.Release()
		return nil, err
	}
	return s, nil
}

// buffer is a flat buffer to be made.
type buffer struct {
	elements int
	eightBit bool
}

func (s *State) makeBuffers(dev *gpu.Device, buffers []buffer) (err error) {
	for i, b := range buffers {
		for _, kind := range []struct {
			name   string
			list   *[]*gpu.Tensor
			moment bool
		}{{"adapter", &s.Param, false}, {"gradient", &s.Grad, false}, {"first moment", &s.M, true}, {"second moment", &s.V, true}} {
			dtype, rows, cols := gpu.F32, 1, b.elements
			if kind.moment && b.eightBit {
				dtype, rows, cols = gpu.U32, b.elements/BlockElements, kernels.MomentWords
			}
			t, err := dev.NewTensor(fmt.Sprintf("%s %d", kind.name, i), dtype, rows, cols)
			if err != nil {
				return err
			}
			*kind.list = append(*kind.list, t)
		}
		if b.eightBit && s.maps == nil {
			if s.maps, err = kernels.DynamicMaps(dev); err != nil {
				return err
			}
		}
	}
	if s.Stats, err = dev.NewTensor("statistics", gpu.F32, 1, kernels.StatCount); err != nil {
		return err
	}
	s.partials, err = dev.NewTensor("norm partials", gpu.U32, max(1, kernels.GradientNormPartials(s.Grad)), 2)
	return err
}

// Release frees the device memory.
func (s *State) Release() {
	for _, list := range [][]*gpu.Tensor{s.Param, s.Grad, s.M, s.V, {s.Stats, s.partials, s.maps}} {
		for _, t := range list {
			if t != nil {
				t.Release()
			}
		}
	}
}

// Bytes is the device memory of parameters, gradients and moments.
func (s *State) Bytes() (total int64) {
	for _, list := range [][]*gpu.Tensor{s.Param, s.Grad, s.M, s.V} {
		for _, t := range list {
			total += t.Bytes()
		}
	}
	return total
}

// View is an entry's tensor in one of the flat lists (s.Param, s.Grad, …): F32 [rows, cols], or for moments in 8 bits U32 [blocks, kernels.MomentWords].
func (s *State) View(list []*gpu.Tensor, name string) *gpu.Tensor {
	i, ok := s.index[name]
	if !ok {
		panic("optim: no trainable tensor " + name)
	}
	e := s.Entries[i]
	flat := list[e.Buffer]
	r, dtype, rows, cols := flat.Single(), flat.DType, e.Rows, e.Cols
	first := int64(e.First) * 4
	if dtype == gpu.U32 {
		rows, cols = (e.Rows*e.Cols+BlockElements-1)/BlockElements, kernels.MomentWords
		first = dtype.Size(e.First / BlockElements * cols)
	}
	return &gpu.Tensor{Name: name, DType: dtype, Rows: rows, Cols: cols, Shards: []gpu.Shard{{
		Range: gpu.Range{Buffer: r.Buffer, Offset: r.Offset + first, Size: dtype.Size(rows * cols)}, Rows: rows,
	}}}
}

// BadTensor names the tensor that holds the flat block reported in StatBad.
func (s *State) BadTensor(block int) string {
	for _, e := range s.Entries {
		base := 0
		for i := range e.Buffer {
			base += s.Grad[i].Cols
		}
		first := (base + e.First) / BlockElements
		if last := first + (e.Rows*e.Cols-1)/BlockElements; block >= first && block <= last {
			return e.Name
		}
	}
	return ""
}

// Settings of one update.
type Settings struct {
	kernels.AdamW
	MaxGradNorm float64
}

// Update records norm, clipping and AdamW over the accumulated gradients, which are sums over targets tokens. Gradients are zero afterwards.
// Step numbers count from 1.
func (s *State) Update(rec *gpu.Recorder, targets int, o Settings) {
	kernels.GradientNorm(rec, s.Stats, s.partials, s.Grad, 1/float32(max(targets, 1)), float32(o.MaxGradNorm))
	for i, m := range s.M {
		if m.DType == gpu.U32 {
			kernels.AdamW8bitStep(rec, s.Param[i], s.Grad[i], m, s.V[i], s.maps, s.Stats, o.AdamW)
		} else {
			kernels.AdamWStep(rec, s.Param[i], s.Grad[i], m, s.V[i], s.Stats, o.AdamW)
		}
	}
}

// Read brings one entry's values back from a flat list.
func (s *State) Read(ctx context.Context, list []*gpu.Tensor, name string) ([]float32, error) {
	return list[0].Device().ReadFloat32(ctx, s.View(list, name))
}
