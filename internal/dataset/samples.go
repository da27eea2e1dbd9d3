package dataset

import "slices"

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

// subset are some of other samples.
type subset struct {
	of      Samples
	members []uint32
}

func (s subset) Len() int                 { return len(s.members) }
func (s subset) Tokens(i int) int         { return s.of.Tokens(int(s.members[i])) }
func (s subset) At(i int) (Sample, error) { return s.of.At(int(s.members[i])) }
func (s subset) FirstTarget() int         { return s.of.FirstTarget() }
