package paging

import (
	"math"
	"slices"
	"sort"
)

// Access is one use of a page. The pages of one group are needed by one kernel, at once.
type Access struct{ Page, Group int }

// Schedule is the order in which a program uses pages, known from its dry recording. Programs repeat: after the last
// access comes the first.
type Schedule struct {
	accesses  []Access
	positions map[int][]int // of each page, ascending
}

// NewSchedule indexes a program's accesses.
func NewSchedule(accesses []Access) *Schedule {
	s := &Schedule{accesses: accesses, positions: map[int][]int{}}
	for i, a := range accesses {
		s.positions[a.Page] = append(s.positions[a.Page], i)
	}
	return s
}

// next is the distance from position at to the page's next use; a page that is never used is infinitely far.
func (s *Schedule) next(page, at int) int {
	positions := s.positions[page]
	if len(positions) == 0 {
		return math.MaxInt
	}
	if i := sort.SearchInts(positions, at+1); i < len(positions) {
		return positions[i] - at
	}
	return positions[0] + len(s.accesses) - at
}

// group is the first access of the group at the position, and the end of the group.
func (s *Schedule) group(at int) (first, end int) {
	for first = at; first > 0 && s.accesses[first-1].Group == s.accesses[at].Group; first-- {
	}
	for end = at; end < len(s.accesses) && s.accesses[end].Group == s.accesses[at].Group; end++ {
	}
	return first, end
}

// empty is a slot that holds no page.
const empty = -1

// ring is which page each slot holds.
type ring []int

func newRing(slots int) ring {
	r := make(ring, slots)
	for i := range r {
		r[i] = empty
	}
	return r
}

// take gives the page of the access at the position a slot: the one that holds it, an empty one, or that of the page
// whose next use is furthest. Pages of the access's own group stay.
func (r ring) take(s *Schedule, at int) (slot int, hit bool) {
	page := s.accesses[at].Page
	if slot = slices.Index(r, page); slot >= 0 {
		return slot, true
	}
	first, end := s.group(at)
	slot = -1
	furthest := -1
	for i, held := range r {
		distance := math.MaxInt
		if held != empty {
			if slices.ContainsFunc(s.accesses[first:end], func(a Access) bool { return a.Page == held }) {
				continue
			}
			distance = s.next(held, at)
		}
		if distance > furthest {
			slot, furthest = i, distance
		}
	}
	if slot < 0 {
		panic("paging: fewer slots than one kernel needs pages")
	}
	r[slot] = page
	return slot, false
}

// Misses counts how often each page is brought in when the program repeats, in a ring of so many slots.
func (s *Schedule) Misses(slots int) map[int]int {
	misses := map[int]int{}
	r := newRing(slots)
	for cycle := range 2 { // the first fills the ring
		for at, a := range s.accesses {
			if _, hit := r.take(s, at); !hit && cycle > 0 {
				misses[a.Page]++
			}
		}
	}
	return misses
}

// Together is the most pages that one kernel needs at once.
func (s *Schedule) Together() (most int) {
	for at := 0; at < len(s.accesses); {
		first, end := s.group(at)
		most, at = max(most, end-first), end
	}
	return most
}

// keep is the schedule of the accesses to some pages only.
func (s *Schedule) keep(wanted func(page int) bool) *Schedule {
	var kept []Access
	for _, a := range s.accesses {
		if wanted(a.Page) && !(len(kept) > 0 && kept[len(kept)-1].Page == a.Page) {
			kept = append(kept, a)
		}
	}
	return NewSchedule(kept)
}
