package paging

import (
	"fmt"
	"slices"

	"qlora-wgpu/gpu"
)

// streamed tells whether a page goes through the ring.
func (s *Store) streamed(id int) bool { return id >= 0 && s.pages[id].resident == nil }

// acquire brings pages to the device for the next kernel and returns where they lie; the ranges hold until the next
// call.
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
			s.transport().In(rec, gpu.Range{Buffer: s.slots[slot], Size: p.bytes}, p.host, s.upcoming)
		}
	}
	s.last = ids
	return slots
}

// advance moves to the next access of the page. A micro-batch that is smaller than the recorded one leaves accesses
// out.
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
