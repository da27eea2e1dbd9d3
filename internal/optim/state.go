// Package optim holds the trainable state of a run and its update.
package optim

import (
	"context"
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
)

// BlockElements is the alignment of every tensor in flat state: pages, norms and non-finite blocks count in it.
const BlockElements = kernels.FlatBlock

// Entry is one trainable tensor's place in flat state.
type Entry struct {
	Name       string
	Rows, Cols int
	Buffer     int // which flat buffer
	First      int // its first element there, a multiple of BlockElements
}

// Options of the state.
type Options struct {
	// EightBit keeps moments in 8 bits, block-wise over BlockElements (arXiv 2110.02861). As in bitsandbytes, tensors of
	// fewer than 4,096 elements keep them in 32.
	EightBit bool
	// Paged keeps moments on the host; Update brings them to the device page by page.
	Paged bool
}

// minEightBit is the fewest elements of a tensor whose moments are kept in 8 bits.
const minEightBit = 4096

// State is the flat trainable state: parameters, gradients and both moments lie in buffers of the same layout, each
// tensor aligned to BlockElements and none across two buffers. Norm, clip, update, checkpoints and pages work on ranges
// of it and know no tensor.
//
// The moments of a buffer of n elements are F32 [1, n], or U32 [n/BlockElements, kernels.MomentWords] where they are
// kept in 8 bits: either way a block is a run of bytes of one length, so a page is a range of blocks.
type State struct {
	Entries         []Entry
	Param, Grad     []*gpu.Tensor   // one a buffer, F32 [1, n]
	M, V            []*gpu.Tensor   // none where they are paged
	paged           [kinds][][]byte // M and V on the host, by flat buffer
	buffers         []buffer
	eightBit        bool
	Stats, partials *gpu.Tensor
	maps            *gpu.Tensor // of 8-bit moments; nil where there are none
	index           map[string]int
}

// NewState lays the tensors (name, rows, cols) out and makes the zeroed buffers.
func NewState(dev *gpu.Device, tensors []Entry, o Options) (*State, error) {
	s := &State{index: map[string]int{}, eightBit: o.EightBit}
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
	s.buffers = buffers
	if err := s.makeBuffers(dev, o.Paged); err != nil {
		s.Release()
		return nil, err
	}
	return s, nil
}

// buffer is a flat buffer.
type buffer struct {
	elements int
	eightBit bool // its moments
}

// momentShape is that of one moment of so many elements.
func (b buffer) momentShape(elements int) MomentShape {
	if b.eightBit {
		return MomentShape{gpu.U32, (elements + BlockElements - 1) / BlockElements, kernels.MomentWords}
	}
	return MomentShape{gpu.F32, 1, elements}
}

// blockBytes are those of one moment of BlockElements elements.
func (b buffer) blockBytes() int { return b.momentShape(BlockElements).Bytes() }

// MomentShape is how one moment lies in memory.
type MomentShape struct {
	DType      gpu.DType
	Rows, Cols int
}

// Bytes is its size.
func (m MomentShape) Bytes() int { return int(m.DType.Size(m.Rows * m.Cols)) }

func (s *State) makeBuffers(dev *gpu.Device, paged bool) (err error) {
	tensor := func(list *[]*gpu.Tensor, name string, m MomentShape) {
		if err == nil {
			var t *gpu.Tensor
			make := dev.NewTensor
			if list == &s.Param {
				make = dev.NewUniformTensor // products read them so
			}
			if t, err = make(fmt.Sprintf("%s %d", name, len(*list)), m.DType, m.Rows, m.Cols); err == nil {
				*list = append(*list, t)
			}
		}
	}
	for _, b := range s.buffers {
		values, moment := MomentShape{gpu.F32, 1, b.elements}, b.momentShape(b.elements)
		tensor(&s.Param, "adapter", values)
		tensor(&s.Grad, "gradient", values)
		switch {
		case !paged:
			tensor(&s.M, "first moment", moment)
			tensor(&s.V, "second moment", moment)
		case !dev.Dry():
			s.paged[0], s.paged[1] = append(s.paged[0], make([]byte, moment.Bytes())), append(s.paged[1], make([]byte, moment.Bytes()))
		}
		if err == nil && b.eightBit && s.maps == nil {
			s.maps, err = kernels.DynamicMaps(dev)
		}
	}
	if err == nil {
		s.Stats, err = dev.NewTensor("statistics", gpu.F32, 1, kernels.StatCount)
	}
	if err == nil {
		s.partials, err = dev.NewTensor("norm partials", gpu.U32, max(1, kernels.GradientNormPartials(s.Grad)), 2)
	}
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

// View is an entry's tensor F32 [rows, cols] in parameters or gradients.
func (s *State) View(list []*gpu.Tensor, name string) *gpu.Tensor {
	i, ok := s.index[name]
	if !ok {
		panic("optim: no trainable tensor " + name)
	}
	e := s.Entries[i]
	r := list[e.Buffer].Single()
	n := int64(e.Rows*e.Cols) * 4
	return &gpu.Tensor{Name: name, DType: gpu.F32, Rows: e.Rows, Cols: e.Cols, Shards: []gpu.Shard{{
		Range: gpu.Range{Buffer: r.Buffer, Offset: r.Offset + int64(e.First)*4, Size: n}, Rows: e.Rows,
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

// Update records norm, clipping and AdamW over the accumulated gradients, which are sums over targets tokens. Gradients
// are zero afterwards. Step numbers count from 1. pager is nil where the moments lie on the device.
func (s *State) Update(rec *gpu.Recorder, targets int, o Settings, pager *Pager) {
	kernels.GradientNorm(rec, s.Stats, s.partials, s.Grad, 1/float32(max(targets, 1)), float32(o.MaxGradNorm))
	if pager != nil {
		s.updatePaged(rec, o, pager)
		return
	}
	for i, b := range s.buffers {
		s.step(rec, b, kernels.AdamWTensors{Param: s.Param[i], Grad: s.Grad[i], M: s.M[i], V: s.V[i]}, o)
	}
}

// step updates a part of a buffer, or all of it: t's parameters, gradients and moments.
func (s *State) step(rec *gpu.Recorder, b buffer, t kernels.AdamWTensors, o Settings) {
	t.Maps, t.Stats = s.maps, s.Stats
	if b.eightBit {
		kernels.AdamW8bitStep(rec, t, o.AdamW)
	} else {
		kernels.AdamWStep(rec, t, o.AdamW)
	}
}

// Read brings one entry's values back from a flat list.
func (s *State) Read(ctx context.Context, list []*gpu.Tensor, name string) ([]float32, error) {
	return list[0].Device().ReadFloat32(ctx, s.View(list, name))
}
