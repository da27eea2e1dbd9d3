package dataset

import (
	"slices"
	"sort"
)

// Sample is one token sequence of a row.
type Sample struct {
	IDs    []uint32
	Labels []int32 // of the same length and NOT shifted: the token's own id, or −100 where it is not a target
	Row    int     // index in the Source
	Turns  int     // of the row's conversation, those that it shows; 0 for a text
}

// Samples are what rows became, in the rows' order.
type Samples interface {
	Len() int
	Tokens(i int) int // of the i-th
	At(i int) (Sample, error)
	// FirstTarget is where the earliest target of all stands in its sample, or of more samples that these were among.
	FirstTarget() int
}

// InMemory are samples that are held as they stand.
type InMemory []Sample

func (m InMemory) Len() int                 { return len(m) }
func (m InMemory) Tokens(i int) int         { return len(m[i].IDs) }
func (m InMemory) At(i int) (Sample, error) { return m[i], nil }

// FirstTarget implements Samples.
func (m InMemory) FirstTarget() int {
	first := noTarget
	for _, s := range m {
		if i := slices.IndexFunc(s.Labels, func(l int32) bool { return l != notTarget }); i >= 0 {
			first = min(first, i)
		}
	}
	return first
}

// Longest is the tokens of the longest sample.
func Longest(samples Samples) (n int) {
	for i := range samples.Len() {
		n = max(n, samples.Tokens(i))
	}
	return n
}

// subset are some of other samples, in their order.
type subset struct {
	Samples
	members []uint32
}

func (s subset) Len() int                 { return len(s.members) }
func (s subset) Tokens(i int) int         { return s.Samples.Tokens(int(s.members[i])) }
func (s subset) At(i int) (Sample, error) { return s.Samples.At(int(s.members[i])) }

// remainder are other samples but for some, of which there are few.
type remainder struct {
	Samples
	without []uint32 // in ascending order
}

func (r remainder) Len() int                 { return r.Samples.Len() - len(r.without) }
func (r remainder) Tokens(i int) int         { return r.Samples.Tokens(r.index(i)) }
func (r remainder) At(i int) (Sample, error) { return r.Samples.At(r.index(i)) }

// index of the i-th: as many further as there are others in front of it.
func (r remainder) index(i int) int {
	return i + sort.Search(len(r.without), func(k int) bool { return int(r.without[k])-k > i })
}
