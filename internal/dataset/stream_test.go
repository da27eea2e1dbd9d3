package dataset

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// samplesOf makes samples of the given lengths. Every id is unique, so that a token can be followed through batches;
// every third token is no target.
func samplesOf(lengths ...int) InMemory {
	var samples InMemory
	id := 0
	for i, n := range lengths {
		sample := Sample{Row: i}
		for range n {
			id++
			sample.IDs = append(sample.IDs, uint32(id))
			label := int32(id)
			if id%3 == 0 {
				label = notTarget
			}
			sample.Labels = append(sample.Labels, label)
		}
		samples = append(samples, sample)
	}
	return samples
}

func randomSamples(n, longest int) InMemory {
	r := rand.New(rand.NewPCG(1, 2))
	lengths := make([]int, n)
	for i := range lengths {
		lengths[i] = 2 + r.IntN(longest-1)
	}
	return samplesOf(lengths...)
}

func next(t *testing.T, s *Stream) Batch {
	t.Helper()
	b, err := s.Next()
	require.NoError(t, err)
	return b
}

func TestBatchIsFlat(t *testing.T) {
	s := NewStream(samplesOf(4, 2), StreamOptions{BatchSize: 2, MaxSeqLength: 4})
	require.Equal(t, Batch{
		IDs:          []uint32{1, 2, 3, 4, 5, 6},
		Positions:    []uint32{0, 1, 2, 3, 0, 1},
		FirstKey:     []uint32{0, 0, 0, 0, 4, 4},
		Targets:      []int32{2, -100, 4, -100, -100, -100},
		TargetTokens: 2,
		Sequences:    2,
		Rows:         []int{0, 1},
		Turns:        []int{0, 0},
	}, next(t, s))
}

// The order of a run is part of its checkpoint: these numbers must never change. They come from an implementation of
// PCG-DXSM in another language.
func TestShuffleIsFixed(t *testing.T) {
	require.Equal(t, []uint32{3, 1, 2, 4, 5, 0, 7, 6}, permutation(8, 42, 0))
	require.Equal(t, []uint32{7, 2, 0, 6, 5, 3, 4, 1}, permutation(8, 42, 1))
	require.Equal(t, []uint32{3, 7, 5, 6, 4, 2, 0, 1}, permutation(8, 43, 0))
	require.Equal(t, []uint32{4, 0, 7, 5, 6, 1, 3, 9, 2, 8}, permutation(10, 7, splitSequence))
	require.Empty(t, permutation(0, 1, 0))
}

func TestShuffleIsUniform(t *testing.T) {
	var counts [4][4]int
	const draws = 4000
	for seed := range uint64(draws) {
		for place, i := range permutation(4, seed, 0) {
			counts[place][i]++
		}
	}
	for _, row := range counts {
		for _, count := range row {
			require.InDelta(t, draws/4, count, 150) // 5.5 standard deviations
		}
	}
}

// epoch gives the batches of one epoch and checks what holds for every batch.
func epoch(t *testing.T, s *Stream, samples InMemory, o StreamOptions) []Batch {
	t.Helper()
	length := map[uint32]int{} // by first id
	for _, sample := range samples {
		length[sample.IDs[0]] = len(sample.IDs)
	}
	label := map[uint32]int32{}
	for _, sample := range samples {
		for i, id := range sample.IDs {
			label[id] = sample.Labels[i]
		}
	}
	seen := map[uint32]bool{}
	require.LessOrEqual(t, s.MeanTokens(), s.MaxTokens())
	if together := min(o.BatchSize, s.bins.len()); s.bins.len()%together == 0 {
		require.Equal(t, len(label)/s.BatchesPerEpoch(), s.MeanTokens())
	}
	var batches []Batch
	for range s.BatchesPerEpoch() {
		b := next(t, s)
		batches = append(batches, b)
		require.Len(t, b.Positions, len(b.IDs))
		require.Len(t, b.FirstKey, len(b.IDs))
		require.Len(t, b.Targets, len(b.IDs))
		require.LessOrEqual(t, len(b.IDs), s.MaxTokens())
		require.LessOrEqual(t, len(b.IDs), o.BatchSize*o.MaxSeqLength)
		targetTokens, sequences := 0, 0
		for i, id := range b.IDs {
			require.False(t, seen[id], "token %d comes twice", id)
			seen[id] = true
			first := int(b.FirstKey[i])
			require.Equal(t, i-first, int(b.Positions[i]))
			n := length[b.IDs[first]]
			require.NotZero(t, n, "a segment starts inside of a sample")
			require.Less(t, i-first, n)
			require.Equal(t, b.IDs[first]+b.Positions[i], id, "the tokens of a sample stay together")
			want := int32(notTarget)
			if i-first+1 < n {
				want = label[id+1]
			}
			require.Equal(t, want, b.Targets[i])
			if want != notTarget {
				targetTokens++
			}
			if first == i {
				sequences++
			}
		}
		require.Equal(t, targetTokens, b.TargetTokens)
		require.Equal(t, sequences, b.Sequences)
	}
	require.Len(t, seen, len(label), "every token once")
	return batches
}

func TestEveryTokenOncePerEpoch(t *testing.T) {
	samples := randomSamples(53, 40)
	for _, o := range []StreamOptions{
		{BatchSize: 1, MaxSeqLength: 40},
		{BatchSize: 4, MaxSeqLength: 40},
		{BatchSize: 4, MaxSeqLength: 40, Shuffle: true, Seed: 5},
		{BatchSize: 100, MaxSeqLength: 40, Shuffle: true},
		{BatchSize: 1, MaxSeqLength: 40, Packing: true},
		{BatchSize: 3, MaxSeqLength: 64, Packing: true, Shuffle: true, Seed: 5},
		{BatchSize: 2, MaxSeqLength: 100000, Packing: true, Shuffle: true},
	} {
		s := NewStream(samples, o)
		first := epoch(t, s, samples, o)
		require.Equal(t, 1.0, s.Epoch())
		second := epoch(t, s, samples, o)
		require.Equal(t, 2.0, s.Epoch())
		again := NewStream(samples, o)
		require.Equal(t, first, epoch(t, again, samples, o))
		switch {
		case o.Shuffle && len(first) > 1:
			require.NotEqual(t, first, second)
		case !o.Shuffle:
			require.Equal(t, first, second)
		}
		if !o.Shuffle && !o.Packing {
			require.Equal(t, samples[0].IDs, first[0].IDs[:len(samples[0].IDs)])
		}
		if !o.Packing {
			require.Len(t, first, (len(samples)+o.BatchSize-1)/o.BatchSize)
			require.Equal(t, (len(samples)-1)%o.BatchSize+1, first[len(first)-1].Sequences, "the last batch is short")
		}
	}
}

func listed(b *bins) (list [][]uint32) {
	for i := range uint32(b.len()) {
		list = append(list, b.appendTo(nil, i))
	}
	return list
}

func TestPackingFillsBins(t *testing.T) {
	samples := randomSamples(3000, 60)
	total := 0
	for _, sample := range samples {
		total += len(sample.IDs)
	}
	bins := pack(samples, orderOf(len(samples), false, 0, 0), 128)
	require.Greater(t, float64(total)/float64(128*bins.len()), 0.97)
	require.Equal(t, [][]uint32{{0, 2}, {1, 4}, {3}}, listed(pack(samplesOf(5, 7, 3, 4, 1), []uint32{0, 1, 2, 3, 4}, 8)))
	require.Equal(t, [][]uint32{{4, 3, 2}, {1}, {0}}, listed(pack(samplesOf(5, 7, 3, 4, 1), []uint32{4, 3, 2, 1, 0}, 8)))
	one := make([]int, 2*packingWindow+3)
	for i := range one {
		one[i] = 5
	}
	one[len(one)-1] = 3 // what fits every bin goes into the first that is still open
	packed := listed(pack(samplesOf(one...), inOrder(len(one)), 8))
	require.Len(t, packed, len(one)-1)
	require.Equal(t, []uint32{packingWindow + 2, uint32(len(one) - 1)}, packed[packingWindow+2])
}

func TestSeekGivesTheSameBytes(t *testing.T) {
	samples := randomSamples(23, 30)
	for _, o := range []StreamOptions{
		{BatchSize: 4, MaxSeqLength: 30, Shuffle: true, Seed: 9},
		{BatchSize: 2, MaxSeqLength: 50, Shuffle: true, Packing: true, Seed: 9},
		{BatchSize: 5, MaxSeqLength: 30},
	} {
		s := NewStream(samples, o)
		var batches []Batch
		var cursors [][]byte
		for range 3*s.BatchesPerEpoch() + 1 {
			saved, err := json.Marshal(s.Cursor())
			require.NoError(t, err)
			cursors = append(cursors, saved)
			batches = append(batches, next(t, s))
		}
		for i, saved := range cursors {
			var cursor Cursor
			require.NoError(t, json.Unmarshal(saved, &cursor))
			resumed := NewStream(samples, o)
			require.NoError(t, resumed.Seek(cursor))
			require.Equal(t, batches[i:], func() (rest []Batch) {
				for range batches[i:] {
					rest = append(rest, next(t, resumed))
				}
				return rest
			}(), "from %s", saved)
		}
		require.ErrorContains(t, s.Seek(Cursor{Epoch: 0, Batch: s.BatchesPerEpoch() + 1}), "resume data set: the place is epoch 0, batch")
		require.Error(t, s.Seek(Cursor{Epoch: -1}))
		require.Error(t, s.Seek(Cursor{Batch: -1}))
	}
}

func TestNewStreamPanics(t *testing.T) {
	require.Panics(t, func() { NewStream(InMemory{}, StreamOptions{BatchSize: 1, MaxSeqLength: 8}) })
	require.Panics(t, func() { NewStream(samplesOf(9), StreamOptions{BatchSize: 1, MaxSeqLength: 8}) })
	require.Panics(t, func() { NewStream(samplesOf(4), StreamOptions{MaxSeqLength: 8}) })
}

func TestSomeOf(t *testing.T) {
	chosen := SomeOf(100, 10, 3)
	require.Len(t, chosen, 10)
	require.True(t, slices.IsSorted(chosen))
	require.Equal(t, chosen, SomeOf(100, 10, 3))
	require.NotEqual(t, chosen, SomeOf(100, 10, 4))
	held, err := HoldBack(100, 10, 3)
	require.NoError(t, err)
	require.NotEqual(t, held, chosen, "what is chosen says nothing of what is held back")
	require.Equal(t, []uint32{0, 1, 2}, SomeOf(3, 10, 3))
}

func TestSplit(t *testing.T) {
	samples := randomSamples(20, 5)
	for _, c := range []struct {
		size float64
		held int
	}{{0, 0}, {0.1, 2}, {0.11, 3}, {0.01, 1}, {1, 1}, {5, 5}, {19, 19}} {
		train, val, err := Split(samples, c.size, 3)
		require.NoError(t, err)
		require.Equal(t, c.held, val.Len())
		require.ElementsMatch(t, samples, append(taken(t, train), taken(t, val)...))
		require.IsIncreasing(t, append([]int{-1}, rowsOf(t, train)...))
		require.IsIncreasing(t, append([]int{-1}, rowsOf(t, val)...))
		_, again, err := Split(samples, c.size, 3)
		require.NoError(t, err)
		require.Equal(t, taken(t, val), taken(t, again))
	}
	_, a, _ := Split(samples, 5, 3)
	_, b, _ := Split(samples, 5, 4)
	require.NotEqual(t, taken(t, a), taken(t, b))
	for _, size := range []float64{-1, 20, 21, 1.5, 0.999} {
		_, _, err := Split(samples, size, 3)
		require.ErrorContains(t, err, "split data set: val_size")
	}
}

func taken(t *testing.T, samples Samples) InMemory {
	all := make(InMemory, samples.Len())
	for i := range all {
		var err error
		all[i], err = samples.At(i)
		require.NoError(t, err)
	}
	return all
}

func rowsOf(t *testing.T, samples Samples) (rows []int) {
	for _, sample := range taken(t, samples) {
		rows = append(rows, sample.Row)
	}
	return rows
}
