package paging

import (
	"context"
	"fmt"
	"slices"

	"qlora-wgpu/gpu"
)

// Store holds the frozen pages of a model, and moves those that do not stay on the device through a ring of slots
// there. A page is a part of a layer's region, or rows of the head. With it travel activations that the plan moves to
// the host.
type Store struct {
	dev      *gpu.Device
	slots    []*gpu.Buffer
	pages    []*page
	ring     ring
	direct   *Direct  // nil where the plan does not map slots
	staging  *Staging // nil where nothing passes through staging buffers
	programs map[string]*Schedule
	current  *Schedule
	at       int      // position of the last access of the running program
	last     []int    // pages of the last group
	logging  []Access // of a dry recording
	log      bool
	groups   int
	states   []*page // activations on the host
	written  int     // bytes uploaded since the last wait
}

// page is frozen bytes: on the device for good (resident), or on the host (host).
type page struct {
	label    string
	layer    int // of the model, Head or Other
	bytes    int64
	resident *gpu.Buffer
	host     []byte
	landed   bool // an activation's host bytes are complete
}

// NewStore makes an empty store whose streamed pages go through slots as the plan says; nil: every page will be
// resident. A slot or staging buffer that does not fit is a *gpu.OutOfMemory, and nothing stays taken.
func NewStore(dev *gpu.Device, plan *Plan) (*Store, error) {
	s := &Store{dev: dev, programs: map[string]*Schedule{}, at: -1}
	if plan == nil {
		return s, nil
	}
	makeSlot := dev.NewUniformBuffer
	if plan.Mapped {
		makeSlot = dev.NewMappableBuffer
	}
	for i := range plan.Slots {
		b, err := makeSlot(fmt.Sprintf("slot %d", i), plan.SlotBytes)
		if err != nil {
			s.Release()
			return nil, err
		}
		s.slots = append(s.slots, b)
	}
	s.ring = newRing(len(s.slots))
	if plan.Mapped || plan.MappedState {
		s.direct = &Direct{}
	}
	if plan.Staging > 0 {
		var err error
		if s.staging, err = NewStaging(dev, plan); err != nil {
			s.Release()
			return nil, err
		}
	}
	return s, nil
}

// Release frees all device memory of the store.
func (s *Store) Release() {
	for _, p := range s.pages {
		p.resident.Release()
		p.host = nil
	}
	for _, b := range s.slots {
		b.Release()
	}
	s.staging.Release()
	s.pages, s.slots, s.staging = nil, nil, nil
}

// Staging and Direct are what pages of other kinds travel through too; nil where the plan has none.
func (s *Store) Staging() *Staging { return s.staging }
func (s *Store) Direct() *Direct   { return s.direct }

// transport is that of frozen pages.
func (s *Store) transport() Transport {
	if s.direct != nil {
		return s.direct
	}
	return s.staging
}

// Finish waits for all that is leaving the device. The recording must have been submitted. Errors are the device's.
func (s *Store) Finish() error {
	if err := s.direct.Finish(); err != nil {
		return err
	}
	return s.staging.Finish()
}

// TakeCounters returns what was moved since the last call.
func (s *Store) TakeCounters() (c Counters) {
	c.Add(s.direct.takeCounters())
	c.Add(s.staging.takeCounters())
	return c
}

// Pages that belong to no layer.
const (
	Head  = -1
	Other = -2
)

// addPage makes room for a page; put fills it.
func (s *Store) addPage(label string, layer int, bytes int64, streamed bool) (id int, err error) {
	p := &page{label: label, layer: layer, bytes: bytes}
	if layer >= 0 { // kernels bind parts of a layer as Uniform
		p.bytes = max(bytes, gpu.UniformBytes)
	}
	if !streamed {
		if p.resident, err = s.dev.NewUniformBuffer(label, bytes); err != nil {
			return 0, err
		}
	}
	s.pages = append(s.pages, p)
	return len(s.pages) - 1, nil
}

// put gives a page its bytes: a resident page's are uploaded, a streamed page keeps the slice.
func (s *Store) put(id int, data []byte) error {
	p := s.pages[id]
	if p.resident == nil {
		p.host = data
		return nil
	}
	return s.write(p.resident, 0, data)
}

// write uploads while loading, and waits where much is under way: the queue holds a copy of what it was given until
// then.
func (s *Store) write(b *gpu.Buffer, offset int64, data []byte) error {
	const piece, pending = 4 << 20, 32 << 20
	for at := 0; at < len(data); at += piece {
		part := data[at:min(at+piece, len(data))]
		if err := b.Write(offset+int64(at), part); err != nil {
			return err
		}
		if s.written += len(part); s.written >= pending {
			s.written = 0
			if err := s.dev.Wait(context.Background()); err != nil {
				return err
			}
		}
	}
	return nil
}

// Streams tells whether pages stay on the host: their bytes must remain valid.
func (s *Store) Streams() bool {
	return slices.ContainsFunc(s.pages, func(p *page) bool { return p.resident == nil })
}

// Shapes lists the pages of layers and head, which come first.
func (s *Store) Shapes() (shapes []PageShape) {
	for _, p := range s.pages {
		if p.layer == Other {
			break
		}
		shapes = append(shapes, PageShape{Name: p.label, Layer: p.layer, Bytes: p.bytes})
	}
	return shapes
}

// FrozenBytes is the size of all pages, wherever they lie.
func (s *Store) FrozenBytes() (total int64) {
	for _, p := range s.pages {
		total += p.bytes
	}
	return total
}

// Log runs a dry recording and remembers the order of its accesses as the program's.
func (s *Store) Log(program string, record func()) {
	s.logging, s.log, s.groups = nil, true, 0
	record()
	s.log = false
	s.programs[program] = NewSchedule(s.logging)
}

// Accesses is the order in which a logged program uses pages; nil for one that was not logged.
func (s *Store) Accesses(program string) []Access {
	if schedule := s.programs[program]; schedule != nil {
		return schedule.accesses
	}
	return nil
}

// Begin starts a logged program.
func (s *Store) Begin(program string) { s.current, s.at, s.last = s.programs[program], -1, nil }
