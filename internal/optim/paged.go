package optim

import (
	"context"
	"fmt"
	"slices"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/paging"
)

// kinds is how many moments there are: the first and the second.
const kinds = 2

// Moments are their suffixes in a checkpoint.
var Moments = [kinds]string{".m", ".v"}

// Pager is what paged state moves through: transport, and slots on the device for a few pages.
type Pager struct {
	paging.Transport
	Slots [][kinds]*gpu.Tensor // of SlotWords words each, all of one size
}

// SlotWords is the size of a pager's slot in 4-byte words, for pages of so many elements of the kind that BlockBytes
// tells.
func (s *State) SlotWords(elements int) int {
	return elements / BlockElements * buffer{eightBit: s.eightBit}.blockBytes() / 4
}

// statePage is elements [first, first+n) of a flat buffer.
type statePage struct{ buffer, first, n int }

// pages are those of which each moment fits so many bytes.
func (s *State) pages(bytes int) (pages []statePage) {
	for i, b := range s.buffers {
		elements := bytes / b.blockBytes() * BlockElements
		for first := 0; first < b.elements; first += elements {
			pages = append(pages, statePage{i, first, min(elements, b.elements-first)})
		}
	}
	return pages
}

// updatePaged updates page after page: page i+1 is filled on the host while page i computes and page i-1 leaves.
func (s *State) updatePaged(rec *gpu.Recorder, o Settings, p *Pager) {
	pages := s.pages(int(p.Slots[0][0].Bytes()))
	for i, page := range pages {
		slot := p.Slots[i%len(p.Slots)]
		b := s.buffers[page.buffer]
		shape := b.momentShape(page.n)
		var moments [kinds]*gpu.Tensor
		for kind := range moments {
			at := slot[kind].Single()
			moments[kind] = &gpu.Tensor{
				Name: slot[kind].Name, DType: shape.DType, Rows: shape.Rows, Cols: shape.Cols, Shards: []gpu.Shard{{Range: at, Rows: shape.Rows}},
			}
			p.In(rec, gpu.Range{Buffer: at.Buffer, Offset: at.Offset, Size: int64(shape.Bytes())},
				s.host(kind, page), func(yield func([]byte) bool) {
					s.after(pages[i:], kind, yield)
				})
		}
		s.step(rec, b, kernels.AdamWTensors{
			Param: part(s.Param[page.buffer], page), Grad: part(s.Grad[page.buffer], page), M: moments[0], V: moments[1],
		}, o)
		for kind, moment := range moments {
			at := moment.Single()
			p.Out(rec, s.host(kind, page), gpu.Range{Buffer: at.Buffer, Offset: at.Offset, Size: int64(shape.Bytes())})
		}
	}
}

// after yields what comes after one kind of the first page.
func (s *State) after(pages []statePage, kind int, yield func([]byte) bool) {
	for i, page := range pages {
		for k := range kinds {
			if (i > 0 || k > kind) && !yield(s.host(k, page)) {
				return
			}
		}
	}
}

// host is a page's bytes of one moment; nil on a dry device, which has none.
func (s *State) host(kind int, page statePage) []byte {
	if s.paged[kind] == nil {
		return nil
	}
	b := s.buffers[page.buffer]
	first := page.first / BlockElements * b.blockBytes()
	return s.paged[kind][page.buffer][first:][:b.momentShape(page.n).Bytes()]
}

// part is a page's elements of a flat tensor.
func part(t *gpu.Tensor, page statePage) *gpu.Tensor {
	r := t.Single()
	at := gpu.Range{Buffer: r.Buffer, Offset: r.Offset + int64(4*page.first), Size: int64(4 * page.n)}
	return &gpu.Tensor{Name: t.Name, DType: gpu.F32, Rows: 1, Cols: page.n, Shards: []gpu.Shard{{Range: at, Rows: 1}}}
}

// MomentShape is how an entry's moments lie in memory, and in what ReadMoment gives.
func (s *State) MomentShape(e Entry) MomentShape {
	m := s.buffers[e.Buffer].momentShape(e.Rows * e.Cols)
	if m.DType == gpu.F32 {
		m.Rows, m.Cols = e.Rows, e.Cols
	}
	return m
}

// ReadMoment is an entry's bytes of one moment (0 the first, 1 the second), wherever they lie. What is on its way to
// the host must have arrived.
func (s *State) ReadMoment(ctx context.Context, kind int, e Entry) ([]byte, error) {
	if s.paged[kind] == nil {
		at := s.momentRange(kind, e)
		return s.Param[0].Device().Read(ctx, at)
	}
	return slices.Clone(s.hostMoment(kind, e)), nil
}

// WriteMoment sets an entry's bytes of one moment.
func (s *State) WriteMoment(kind int, e Entry, data []byte) error {
	if len(data) != s.MomentShape(e).Bytes() {
		panic(fmt.Sprintf("optim: %d bytes for a moment of %s of %d×%d", len(data), e.Name, e.Rows, e.Cols))
	}
	if s.paged[kind] == nil {
		at := s.momentRange(kind, e)
		return at.Buffer.Write(at.Offset, data)
	}
	copy(s.hostMoment(kind, e), data)
	return nil
}

// momentRange is where an entry's moment lies on the device.
func (s *State) momentRange(kind int, e Entry) gpu.Range {
	flat := [kinds][]*gpu.Tensor{s.M, s.V}[kind][e.Buffer].Single()
	first := e.First / BlockElements * s.buffers[e.Buffer].blockBytes()
	return gpu.Range{Buffer: flat.Buffer, Offset: flat.Offset + int64(first), Size: int64(s.MomentShape(e).Bytes())}
}

// hostMoment is where it lies on the host.
func (s *State) hostMoment(kind int, e Entry) []byte {
	return s.host(kind, statePage{e.Buffer, e.First, e.Rows * e.Cols})
}

// Bytes are the sizes of parameters with gradients, and of the moments wherever they lie.
func (s *State) Bytes() (adapter, moments int64) {
	for _, b := range s.buffers {
		adapter += max(gpu.F32.Size(b.elements), gpu.UniformBytes) + gpu.F32.Size(b.elements)
		moments += int64(kinds * b.momentShape(b.elements).Bytes())
	}
	return adapter, moments
}

// BlockBytes is what each moment of BlockElements parameters takes in most of the state.
func (s *State) BlockBytes() []int64 {
	n := int64(buffer{eightBit: s.eightBit}.blockBytes())
	return []int64{n, n}
}
