package dataset

import (
	"fmt"
	"iter"
	"slices"

	"qlora-wgpu/internal/usererr"
)

// Batch is a micro-batch: one flat list of T tokens in which the sequences stand one after another, without padding.
type Batch struct {
	IDs       []uint32 // [T]
	Positions []uint32 // [T] position within the token's sequence, from 0
	// [T] index in this list of the first token of the token's sequence: attention sees FirstKey[i] … i
	FirstKey     []uint32
	Targets      []int32 // [T] the id to be predicted at i, which is the next token of the sequence, or −100
	TargetTokens int     // Targets that are not −100
	Sequences    int
	Rows         []int // [Sequences] the row in Source.Rows that each comes from
	Turns        []int // [Sequences] of the row's conversation, those that each shows; 0 for a text
}

// Spans gives the first token of each sequence and the one past its last, in their order.
func (b Batch) Spans() iter.Seq2[int, int] {
	return func(yield func(first, end int) bool) {
		for first := 0; first < len(b.IDs); {
			end := first + 1
			for end < len(b.IDs) && b.FirstKey[end] == uint32(first) {
				end++
			}
			if !yield(first, end) {
				return
			}
			first = end
		}
	}
}

// Predicted tells whether the token at a place is a target: it is predicted from the token before it.
func (b Batch) Predicted(at int) bool {
	return at > 0 && b.Targets[at-1] != notTarget
}

// StreamOptions say how samples become batches.
type StreamOptions struct {
	Seed         uint64
	Shuffle      bool // else samples come in the order given
	Packing      bool // fill each of the BatchSize sequences with several whole samples, each a segment of its own
	BatchSize    int  // samples of a micro-batch, or with Packing bins of MaxSeqLength tokens
	MaxSeqLength int  // tokens of a bin; no sample may be longer
}

// Stream gives batches without end, epoch after epoch, the same ones for the same samples and options on every
// platform. Every sample is in exactly one batch of an epoch; the last batch of an epoch holds what is left over and is
// not filled up from the next one (as with Hugging Face's data loader and drop_last=False).
//
// With Packing the bins are put together once, from a shuffled order if Shuffle is set, so that all epochs have the
// same number of batches; each epoch shuffles the bins.
type Stream struct {
	samples []Sample
	options StreamOptions
	bins    [][]int // samples of each bin; without Packing one
	order   []int   // bins in the order of this epoch
	cursor  Cursor
}

// Cursor is the place of the next batch.
type Cursor struct {
	Epoch int `json:"epoch"`
	Batch int `json:"batch"` // within the epoch
}

// NewStream starts at the first batch of epoch 0. It panics on options that are not positive, without samples, and on a
// sample longer than MaxSeqLength, which the Encoder never makes.
func NewStream(samples []Sample, o StreamOptions) *Stream {
	if o.BatchSize < 1 || o.MaxSeqLength < 1 || len(samples) == 0 {
		panic(fmt.Sprintf("dataset.NewStream: %d samples, batch size %d, sequence length %d", len(samples), o.BatchSize, o.MaxSeqLength))
	}
	for i, sample := range samples {
		if len(sample.IDs) > o.MaxSeqLength || len(sample.IDs) != len(sample.Labels) {
			panic(fmt.Sprintf("dataset.NewStream: sample %d has %d ids and %d labels, the sequence length is %d",
				i, len(sample.IDs), len(sample.Labels), o.MaxSeqLength))
		}
	}
	s := &Stream{samples: samples, options: o}
	if o.Packing {
		s.bins = pack(samples, orderOf(len(samples), o.Shuffle, o.Seed, packingSequence), o.MaxSeqLength)
	} else {
		s.bins = make([][]int, len(samples))
		for i := range s.bins {
			s.bins[i] = []int{i}
		}
	}
	s.begin(Cursor{})
	return s
}

func orderOf(n int, shuffle bool, seed, sequence uint64) []int {
	if shuffle {
		return permutation(n, seed, sequence)
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	return order
}

func (s *Stream) begin(c Cursor) {
	s.order = orderOf(len(s.bins), s.options.Shuffle, s.options.Seed, uint64(c.Epoch))
	s.cursor = c
}

// Next is the batch at the cursor; the cursor moves on.
func (s *Stream) Next() Batch {
	if s.cursor.Batch == s.BatchesPerEpoch() {
		s.begin(Cursor{Epoch: s.cursor.Epoch + 1})
	}
	from := s.cursor.Batch * s.options.BatchSize
	to := min(from+s.options.BatchSize, len(s.order))
	s.cursor.Batch++
	var members []int
	for _, bin := range s.order[from:to] {
		members = append(members, s.bins[bin]...)
	}
	return assemble(s.samples, members)
}

func assemble(samples []Sample, members []int) Batch {
	tokens := 0
	for _, i := range members {
		tokens += len(samples[i].IDs)
	}
	b := Batch{
		IDs:       make([]uint32, 0, tokens),
		Positions: make([]uint32, 0, tokens),
		FirstKey:  make([]uint32, 0, tokens),
		Targets:   make([]int32, 0, tokens),
		Sequences: len(members),
	}
	for _, i := range members {
		sample := samples[i]
		b.Rows, b.Turns = append(b.Rows, sample.Row), append(b.Turns, sample.Turns)
		first := uint32(len(b.IDs))
		b.IDs = append(b.IDs, sample.IDs...)
		for k := range sample.IDs {
			target := int32(notTarget)
			if k+1 < len(sample.Labels) {
				target = sample.Labels[k+1]
			}
			if target != notTarget {
				b.TargetTokens++
			}
			b.Positions = append(b.Positions, uint32(k))
			b.FirstKey = append(b.FirstKey, first)
			b.Targets = append(b.Targets, target)
		}
	}
	return b
}

// Cursor is the place of the batch that Next gives next.
func (s *Stream) Cursor() Cursor { return s.cursor }

// Seek moves to a place that Cursor gave for the same samples and options: Next then gives the same batches again.
// A cursor outside of the data is an error, and the stream stays where it is.
func (s *Stream) Seek(c Cursor) error {
	if c.Epoch < 0 || c.Batch < 0 || c.Batch > s.BatchesPerEpoch() {
		return usererr.New("resume data set", "", "the place is epoch %d, batch %d; an epoch has %d batches",
			c.Epoch, c.Batch, s.BatchesPerEpoch()).
			Hinted("the checkpoint belongs to other data or another batch size")
	}
	s.begin(c)
	return nil
}

// BatchesPerEpoch is the same for all epochs.
func (s *Stream) BatchesPerEpoch() int {
	return (len(s.bins) + s.options.BatchSize - 1) / s.options.BatchSize
}

// Epoch is the progress in epochs: 1.5 in the middle of the second one.
func (s *Stream) Epoch() float64 {
	return float64(s.cursor.Epoch) + float64(s.cursor.Batch)/float64(s.BatchesPerEpoch())
}

// MeanTokens is what a batch has on average.
func (s *Stream) MeanTokens() int {
	total := 0
	for _, bin := range s.bins {
		for _, sample := range bin {
			total += len(s.samples[sample].IDs)
		}
	}
	return total * min(s.options.BatchSize, len(s.bins)) / len(s.bins)
}

// MaxTokens bounds the tokens of every batch, which is what buffers have to hold.
func (s *Stream) MaxTokens() int {
	sizes := make([]int, len(s.bins))
	for i, bin := range s.bins {
		for _, sample := range bin {
			sizes[i] += len(s.samples[sample].IDs)
		}
	}
	slices.Sort(sizes)
	most := 0
	for _, size := range sizes[max(0, len(sizes)-s.options.BatchSize):] {
		most += size
	}
	return most
}
