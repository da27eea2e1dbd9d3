package optim

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/paging"
)

// kinds is how many moments there are: the first and the second.
const kinds = 2

// Moments are their suffixes in a checkpoint.
var Moments = [kinds]string{".m", ".v"}

// Pager is what paged state moves through: transport, and slots on the device for a few pages of Elements values.
type Pager struct {
	Feeder   *paging.Feeder
	Drain    *paging.Drain
	Elements int
	Slots    [][kinds]*gpu.Tensor // [1, Elements] each
}

// statePage is elements [first, first+n) of a flat buffer.
type statePage struct{ buffer, first, n int }

func (s *State) pages(elements int) (pages []statePage) {
	for buffer, p := range s.Param {
		for first := 0; first < p.Cols; first += elements {
			pages = append(pages, statePage{buffer, first, min(elements, p.Cols-first)})
		}
	}
	return pages
}

// updatePaged updates page after page: page i+1 is filled on the host while page i computes and page i-1 leaves.
func (s *State) updatePaged(rec *gpu.Recorder, o Settings, p *Pager) {
	pages := s.pages(p.Elements)
	for i, page := range pages {
		slot := p.Slots[i%len(p.Slots)]
		var moments [kinds]*gpu.Tensor
		for kind := range moments {
			moments[kind] = slot[kind].View(1, page.n)
			at := moments[kind].Single()
			p.Feeder.In(rec, gpu.Range{Buffer: at.Buffer, Offset: at.Offset, Size: int64(4 * page.n)}, s.host(kind, page), func(yield func([]byte) bool) {
				s.after(pages[i:], kind, yield)
			})
		}
		kernels.AdamWStep(rec, part(s.Param[page.buffer], page), part(s.Grad[page.buffer], page), moments[0], moments[1], s.Stats, o.AdamW)
		for kind, moment := range moments {
			at := moment.Single()
			p.Drain.Out(rec, s.host(kind, page), gpu.Range{Buffer: at.Buffer, Offset: at.Offset, Size: int64(4 * page.n)})
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
	return s.paged[kind][page.buffer][4*page.first : 4*(page.first+page.n)]
}

// part is a page's elements of a flat tensor.
func part(t *gpu.Tensor, page statePage) *gpu.Tensor {
	r := t.Single()
	at := gpu.Range{Buffer: r.Buffer, Offset: r.Offset + int64(4*page.first), Size: int64(4 * page.n)}
	return &gpu.Tensor{Name: t.Name, DType: gpu.F32, Rows: 1, Cols: page.n, Shards: []gpu.Shard{{Range: at, Rows: 1}}}
}

// ReadMoment is an entry's values of one moment (0 the first, 1 the second), wherever they lie. What is on its way to the host must have arrived.
func (s *State) ReadMoment(ctx context.Context, kind int, e Entry) ([]float32, error) {
	if s.paged[kind] == nil {
		return s.Read(ctx, s.moment(kind), e.Name)
	}
	values := make([]float32, e.Rows*e.Cols)
	for i := range values {
		values[i] = math.Float32frombits(binary.LittleEndian.Uint32(s.paged[kind][e.Buffer][4*(e.First+i):]))
	}
	return values, nil
}

// WriteMoment sets an entry's values of one moment.
func (s *State) WriteMoment(kind int, e Entry, values []float32) error {
	if len(values) != e.Rows*e.Cols {
		panic(fmt.Sprintf("optim: %d values for %s of %d×%d", len(values), e.Name, e.Rows, e.Cols))
	}
	if s.paged[kind] == nil {
		return s.View(s.moment(kind), e.Name).WriteFloat32(values)
	}
	copy(s.paged[kind][e.Buffer][4*e.First:], gpu.Float32Bytes(values))
	return nil
}

func (s *State) moment(kind int) []*gpu.Tensor { return [kinds][]*gpu.Tensor{s.M, s.V}[kind] }

// Bytes are the sizes of parameters with gradients, and of the moments wherever they lie.
func (s *State) Bytes() (adapter, moments int64) {
	for _, p := range s.Param {
		adapter += 2 * p.Bytes()
		moments += kinds * p.Bytes()
	}
	return adapter, moments
}

// BlockBytes is what each moment of BlockElements parameters takes.
var BlockBytes = [kinds]int64{4 * BlockElements, 4 * BlockElements}
