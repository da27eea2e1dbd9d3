package dataset

import (
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
)

// permutation of 0 … n−1 by Fisher and Yates on PCG-DXSM, of which the two words are the state. The reduction to a
// range is written out here because a checkpoint is only worth something as long as the order never changes.
func permutation(n int, seed, sequence uint64) []int {
	source := rand.NewPCG(seed, sequence)
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	for i := n - 1; i > 0; i-- {
		high, _ := bits.Mul64(source.Uint64(), uint64(i+1))
		order[i], order[high] = order[high], order[i]
	}
	return order
}

// Split holds samples back for evaluation: a fraction of them for valSize below 1 (rounded up), else that many. Both
// parts keep the samples' order; the choice depends on the seed and the number of samples only.
func Split(samples []Sample, valSize float64, seed uint64) (train, val []Sample, err error) {
	n := len(samples)
	if !(valSize >= 0) || math.IsInf(valSize, 1) {
		return nil, nil, usererr.New("split data set", "", "val_size %v is neither a fraction nor a number of samples", valSize)
	}
	size := valSize
	if valSize < 1 {
		size = math.Ceil(valSize * float64(n))
	}
	if size != math.Trunc(size) {
		return nil, nil, usererr.New("split data set", "", "val_size %v is neither a fraction below 1 nor a whole number of samples", valSize)
	}
	if size > 0 && size >= float64(n) {
		return nil, nil, usererr.New("split data set", "", "val_size %v leaves nothing to train on: there are %d samples", valSize, n)
	}
	held := permutation(n, seed, splitSequence)[:int(size)]
	slices.Sort(held)
	for i, sample := range samples {
		if len(held) > 0 && held[0] == i {
			held = held[1:]
			val = append(val, sample)
		} else {
			train = append(train, sample)
		}
	}
	return train, val, nil
}

// packingWindow bounds the bins that stay open, and with them the work per sample.
const packingWindow = 256

// pack puts whole samples into bins of at most capacity tokens: first fit in the given order, over the last
// packingWindow bins. Bins come in the order in which they were opened.
func pack(samples []Sample, order []int, capacity int) [][]int {
	var bins [][]int
	var room []int
	first := 0 // bins before this one are closed
	for _, i := range order {
		length := len(samples[i].IDs)
		at := first
		for at < len(bins) && room[at] < length {
			at++
		}
		if at == len(bins) {
			bins, room = append(bins, nil), append(room, capacity)
			first = max(first, len(bins)-packingWindow)
		}
		bins[at] = append(bins[at], i)
		room[at] -= length
	}
	return bins
}
