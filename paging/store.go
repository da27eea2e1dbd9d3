package paging

import (
	"fmt"
	"slices"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
)

// Store holds the frozen pages of a model, and moves those that do not stay on the device through a ring of slots there. A page is a part of a layer's region, or
// rows of the head. With it travel activations that the plan moves to the host.
type Store struct {
	dev      *gpu.Device
	slots    []*gpu.Buffer
	slotSize int64
	pages    []*page
	ring     ring
	feeder   *Feeder
	drain    *Drain
	programs map[string]*Schedule
	current  *Schedule
	at       int      // position of the last access of the running program
	last     []int    // pages of the last group
	logging  []Access // of a dry recording
	log      bool
	groups   int
	states   []*page // activations on the host
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

// NewStore makes an empty store whose streamed pages go through slots as the plan says; nil: every page will be resident.
func NewStore(dev *gpu.Device, plan *Plan) (*Store, error) {
	s := &Store{dev: dev, programs: map[string]*Schedule{}, at: -1}
	if plan == nil {
		return s, nil
	}
	s.slotSize = plan.SlotBytes
	for i := range plan.Slots {
		b, err := dev.NewUniformBuffer(fmt.Sprintf("slot %d", i), plan.SlotBytes)
		if err != nil {
			s.Release()
			return nil, err
		}
		s.slots = append(s.slots, b)
	}
	s.ring = newRing(len(s.slots))
	var err error
	if plan.Staging > 0 {
		s.feeder, err = NewFeeder(dev, plan.Staging, plan.StagingBytes)
	}
	if err == nil && plan.StagingOut > 0 {
		s.drain, err = NewDrain(dev, plan.StagingOut, plan.StagingBytes)
	}
	if err != nil {
		s.Release()
		return nil, err
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
	s.feeder.Release()
	s.drain.Release()
	s.pages, s.slots, s.feeder, s.drain = nil, nil, nil, nil
}

// Feeder and Drain are what pages of other kinds travel through too; nil where nothing is paged.
func (s *Store) Feeder() *Feeder { return s.feeder }
func (s *Store) Drain() *Drain   { return s.drain }

// TakeCounters returns what was moved since the last call.
func (s *Store) TakeCounters() (c Counters) {
	if s.feeder != nil {
		c, s.feeder.counters = s.feeder.counters, Counters{}
	}
	if s.drain != nil {
		c.PageOuts = s.drain.counters.PageOuts
		c.Bytes += s.drain.counters.Bytes
		c.Stall += s.drain.counters.Stall
		s.drain.counters = Counters{}
	}
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
	return write(p.resident, 0, data)
}

// write fills a buffer from byte offset on, in pieces: what is on its way takes memory of its own.
func write(to *gpu.Buffer, offset int64, data []byte) error {
	const piece = 4 << 20
	for at := 0; at < len(data); at += piece {
		if err := to.Write(offset+int64(at), data[at:min(at+piece, len(data))]); err != nil {
			return err
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

// FrozenBytes is the size of all pages.
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

// Accesses is the order in which a logged program uses pages.
func (s *Store) Accesses(program string) []Access { return s.programs[program].accesses }

// Begin starts a logged program.
func (s *Store) Begin(program string) { s.current, s.at, s.last = s.programs[program], -1, nil }

// streamed tells whether a page goes through the ring.
func (s *Store) streamed(id int) bool { return id >= 0 && s.pages[id].resident == nil }

// acquire brings pages to the device for the next kernel and returns where they lie; the ranges hold until the next call.
func (s *Store) acquire(rec *gpu.Recorder, ids ...int) []gpu.Range {
	ranges := make([]gpu.Range, len(ids))
	var moving []int
	for i, id := range ids {
		if s.streamed(id) {
			moving = append(moving, id)
		} else {
			ranges[i] = s.pages[id].resident.All()
		}
	}
	if len(moving) == 0 {
		return ranges
	}
	if len(moving) > len(s.slots) {
		panic(fmt.Sprintf("paging: %d pages are needed at once, there are %d slots", len(moving), len(s.slots)))
	}
	slots := s.dryAcquire(moving)
	if !rec.Dry() {
		slots = s.bringIn(rec, moving)
	}
	for i, id := range ids {
		if at := slices.Index(moving, id); at >= 0 {
			ranges[i] = gpu.Range{Buffer: s.slots[slots[at]], Size: s.pages[id].bytes}
		}
	}
	return ranges
}

// dryAcquire notes the accesses, and hands out slots by number.
func (s *Store) dryAcquire(ids []int) []int {
	slots := make([]int, len(ids))
	for i := range ids {
		slots[i] = i
	}
	s.note(ids...)
	return slots
}

// note adds a group of accesses to the log, unless they repeat the last one.
func (s *Store) note(ids ...int) {
	if !s.log {
		return
	}
	if n := len(s.logging) - len(ids); n >= 0 && slices.EqualFunc(s.logging[n:], ids, func(a Access, id int) bool { return a.Page == id }) {
		return
	}
	s.groups++
	for _, id := range ids {
		s.logging = append(s.logging, Access{id, s.groups})
	}
}

// bringIn is the pages' slots after recording what has to be copied for it.
func (s *Store) bringIn(rec *gpu.Recorder, ids []int) []int {
	slots := make([]int, len(ids))
	again := slices.Equal(ids, s.last)
	for i, id := range ids {
		if again {
			slots[i] = slices.Index(s.ring, id)
			continue
		}
		s.advance(id)
		slot, hit := s.ring.take(s.current, s.at)
		slots[i] = slot
		if !hit {
			p := s.pages[id]
			s.feeder.In(rec, gpu.Range{Buffer: s.slots[slot], Size: p.bytes}, p.host, s.upcoming)
		}
	}
	s.last = ids
	return slots
}

// advance moves to the next access of the page. A micro-batch that is smaller than the recorded one leaves accesses out.
func (s *Store) advance(id int) {
	if s.current == nil {
		panic("paging: no program is running")
	}
	s.at += s.current.next(id, s.at)
	s.at %= len(s.current.accesses)
}

// upcoming lists the bytes that will be wanted after the last access.
func (s *Store) upcoming(yield func([]byte) bool) {
	future := slices.Clone(s.ring)
	for i := range s.current.accesses {
		at := (s.at + 1 + i) % len(s.current.accesses)
		id := s.current.accesses[at].Page
		if id < 0 {
			if p := s.states[-1-id]; !p.landed || !yield(p.host) {
				return
			}
			continue
		}
		if _, hit := future.take(s.current, at); !hit && !yield(s.pages[id].host) {
			return
		}
	}
}

// Handle is a layer's region in the store.
type Handle struct {
	store  *Store
	layout *Layout
	pages  []int
}

// AddRegion makes room for a region, of a layer or Other.
func (s *Store) AddRegion(label string, layer int, layout *Layout, streamed bool) (*Handle, error) {
	h := &Handle{store: s, layout: layout}
	for i, bytes := range layout.Parts {
		id, err := s.addPage(fmt.Sprintf("%s part %d", label, i), layer, bytes, streamed)
		if err != nil {
			return nil, err
		}
		h.pages = append(h.pages, id)
	}
	return h, nil
}

// Put fills a part of the region. The store keeps the bytes of a streamed one, which must not change any more.
func (h *Handle) Put(part int, data []byte) error {
	h.layout.readOffsets(part, data)
	return h.store.put(h.pages[part], data)
}

// Layout is the region's layout.
func (h *Handle) Layout() *Layout { return h.layout }

// Use is the region's tensors for what is recorded next.
func (h *Handle) Use(rec *gpu.Recorder) Weights { return &use{h, rec} }

type use struct {
	handle *Handle
	rec    *gpu.Recorder
}

// region has the parts in place that hold what was asked for.
func (u *use) region(parts ...int) *Region {
	ids := make([]int, len(parts))
	for i, part := range parts {
		ids[i] = u.handle.pages[part]
	}
	r := &Region{Layout: u.handle.layout, Parts: make([]gpu.Range, len(u.handle.pages))}
	for i, at := range u.handle.store.acquire(u.rec, ids...) {
		r.Parts[parts[i]] = at
	}
	return r
}

func (u *use) Linear(name string) *kernels.NF4Weight {
	return u.region(u.handle.layout.PartsOf(name)...).Linear(name)
}

func (u *use) Vector(name string) kernels.Vector {
	return u.region(u.handle.layout.PartsOf(name)...).Vector(name)
}
