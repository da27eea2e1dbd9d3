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

// State is the flat trainable state: parameters, gradients and both moments lie in buffers of the same layout, each tensor
// aligned to BlockElements and none across two buffers. Norm, clip, update, checkpoints and pages work on ranges of it and know no tensor.
type State struct {
	Entries           []Entry
	Param, Grad, M, V []*gpu.Tensor // [1, n] each; without M and V where they are paged
	Stats, partials   *gpu.Tensor
	paged             [kinds][][]byte // M and V on the host, by flat buffer
	index             map[string]int
	Step              int // finished updates
}

// NewState lays the tensors (name, rows, cols) out and makes the zeroed buffers; the moments' on the host, if they are to be paged.
func NewState(dev *gpu.Device, tensors []Entry, paged bool) (*State, error) {
	s := &State{index: map[string]int{}}
	limit := int(dev.Limits.MaxBindingBytes / 4 / BlockElements * BlockElements)
	var sizes []int
	for _, e := range tensors {
		n := (e.Rows*e.Cols + BlockElements - 1) / BlockElements * BlockElements
		if n > limit {
			panic(fmt.Sprintf("optim: %s of %d×%d exceeds a buffer of %d elements", e.Name, e.Rows, e.Cols, limit))
		}
		if len(sizes) == 0 || sizes[len(sizes)-1]+n > limit {
			sizes = append(sizes, 0)
		}
		e.Buffer, e.First = len(sizes)-1, sizes[len(sizes)-1]
		sizes[e.Buffer] += n
		s.index[e.Name] = len(s.Entries)
		s.Entries = append(s.Entries, e)
	}
	type kind struct {
		name string
		list *[]*gpu.Tensor
	}
	onDevice := []kind{{"adapter", &s.Param}, {"gradient", &s.Grad}}
	if !paged {
		onDevice = append(onDevice, kind{"first moment", &s.M}, kind{"second moment", &s.V})
	}
	for i, n := range sizes {
		if paged && !dev.Dry() {
			s.paged[0], s.paged[1] = append(s.paged[0], make([]byte, 4*n)), append(s.paged[1], make([]byte, 4*n))
		}
		for _, kind := range onDevice {
			t, err := dev.NewTensor(fmt.Sprintf("%s %d", kind.name, i), gpu.F32, 1, n)
			if err != nil {
				s.Release()
				return nil, err
			}
			*kind.list = append(*kind.list, t)
		}
	}
	var err error
	if s.Stats, err = dev.NewTensor("statistics", gpu.F32, 1, kernels.StatCount); err == nil {
		s.partials, err = dev.NewTensor("norm partials", gpu.U32, max(1, kernels.GradientNormPartials(s.Grad)), 2)
	}
	if err != nil {
		s.Release()
		return nil, err
	}
	return s, nil
}

// Release frees the device memory.
func (s *State) Release() {
	for _, list := range [][]*gpu.Tensor{s.Param, s.Grad, s.M, s.V, {s.Stats, s.partials}} {
		for _, t := range list {
			if t != nil {
				t.Release()
			}
		}
	}
}

// View is an entry's tensor [rows, cols] in one of the flat lists (s.Param, s.Grad, …).
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

// Update records norm, clipping and AdamW over the accumulated gradients, which are sums over targets tokens. Gradients are zero afterwards.
// Step numbers count from 1. pager is nil where the moments lie on the device.
func (s *State) Update(rec *gpu.Recorder, targets int, o Settings, pager *Pager) {
	kernels.GradientNorm(rec, s.Stats, s.partials, s.Grad, 1/float32(max(targets, 1)), float32(o.MaxGradNorm))
	if pager != nil {
		s.updatePaged(rec, o, pager)
		return
	}
	for i := range s.Param {
		kernels.AdamWStep(rec, s.Param[i], s.Grad[i], s.M[i], s.V[i], s.Stats, o.AdamW)
	}
}

// Read brings one entry's values back from a flat list.
func (s *State) Read(ctx context.Context, list []*gpu.Tensor, name string) ([]float32, error) {
	return list[0].Device().ReadFloat32(ctx, s.View(list, name))
}
