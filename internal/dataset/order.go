package dataset

import (
	"fmt"
	"math"
	"math/bits"
	"math/rand/v2"
	"slices"

	"qlora-wgpu/internal/usererr"
)

// Second words of the seed beside the epochs' numbers, so that no two uses draw the same numbers.
const (
	splitSequence   = 1<<63 + 0
	packingSequence = 1<<63 + 1
	sampleSequence  = 1<<63 + 2
	weightSequence  = 1<<63 + 1<<32 // and one for each part
)

// permutation of 0 … n−1 by Fisher and Yates on PCG-DXSM, of which the two words are the state. The reduction to a
// range is written out here because a checkpoint is only worth something as long as the order never changes.
func permutation(n int, seed, sequence uint64) []uint32 {
	source := rand.NewPCG(seed, sequence)
	order := inOrder(n)
	for i := n - 1; i > 0; i-- {
		high, _ := bits.Mul64(source.Uint64(), uint64(i+1))
		order[i], order[high] = order[high], order[i]
	}
	return order
}

// inOrder is 0 … n−1, in 32 bits because of the many samples that a data set on disk may have.
func inOrder(n int) []uint32 {
	if n > math.MaxUint32 {
		panic(fmt.Sprintf("dataset: %d samples", n)) // the Encoder makes no more
	}
	order := make([]uint32, n)
	for i := range order {
		order[i] = uint32(i)
	}
	return order
}

// HoldBack chooses which of n are held back for evaluation, in ascending order: a fraction of them for valSize below 1
// (rounded up), else that many. The choice depends on the seed and n only.
func HoldBack(n int, valSize float64, seed uint64) ([]uint32, error) {
	if !(valSize >= 0) || math.IsInf(valSize, 1) {
		return nil, usererr.New("split data set", "", "val_size %v is neither a fraction nor a number of samples", valSize)
	}
	size := valSize
	if valSize < 1 {
		size = math.Ceil(valSize * float64(n))
	}
	if size != math.Trunc(size) {
		return nil, usererr.New("split data set", "", "val_size %v is neither a fraction below 1 nor a whole number of samples", valSize)
	}
	if size > 0 && size >= float64(n) {
		return nil, usererr.New("split data set", "", "val_size %v leaves nothing to train on: there are %d samples", valSize, n)
	}
	return some(n, int(size), seed, splitSequence), nil
}

// SomeOf chooses so many of n, or all where there are no more, in ascending order, by seed.
func SomeOf(n, size int, seed uint64) []uint32 { return some(n, min(size, n), seed, sampleSequence) }

func some(n, size int, seed, sequence uint64) []uint32 {
	chosen := slices.Clone(permutation(n, seed, sequence)[:size])
	slices.Sort(chosen)
	return chosen
}

// Split holds samples back for evaluation, those that HoldBack chooses. Both parts keep the samples' order.
func Split(samples Samples, valSize float64, seed uint64) (train, val Samples, err error) {
	n := samples.Len()
	held, err := HoldBack(n, valSize, seed)
	if err != nil {
		return nil, nil, err
	}
	return remainder{samples, held}, subset{samples, held}, nil
}

// packingWindow bounds the bins that stay open, and with them the work per sample.
const packingWindow = 256

// bins hold whole samples: the i-th those of members between starts[i] and starts[i+1].
type bins struct {
	members []uint32
	starts  []uint32 // one more than there are bins; nil: each bin holds the sample of its number
	samples int
}

func (b *bins) len() int {
	if b.starts == nil {
		return b.samples
	}
	return len(b.starts) - 1
}

// appendTo adds a bin's samples to a list.
func (b *bins) appendTo(list []uint32, bin uint32) []uint32 {
	if b.starts == nil {
		return append(list, bin)
	}
	return append(list, b.members[b.starts[bin]:b.starts[bin+1]]...)
}

// pack puts whole samples into bins of at most capacity tokens: first fit in the given order, over the last
// packingWindow bins. Bins come in the order in which they were opened.
func pack(samples Samples, order []uint32, capacity int) *bins {
	type bin struct {
		members []uint32
		room    int
	}
	var open []bin // the last ones
	all := &bins{members: make([]uint32, 0, len(order)), starts: []uint32{0}, samples: len(order)}
	closeFirst := func() {
		all.members = append(all.members, open[0].members...)
		all.starts = append(all.starts, uint32(len(all.members)))
		open = open[1:]
	}
	for _, i := range order {
		length := samples.Tokens(int(i))
		at := slices.IndexFunc(open, func(b bin) bool { return b.room >= length })
		if at < 0 {
			if open = append(open, bin{room: capacity}); len(open) > packingWindow {
				closeFirst()
			}
			at = len(open) - 1
		}
		open[at].members = append(open[at].members, i)
		open[at].room -= length
	}
	for len(open) > 0 {
		closeFirst()
	}
	return all
}
