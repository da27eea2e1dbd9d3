package dataset

import (
	"fmt"
	"iter"
	"maps"
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
	Rows         []int // [Sequences] the row of the Source that each comes from
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
	samples Samples
	options StreamOptions
	bins    *bins
	order   []uint32 // bins in the order of this epoch
	tokens  int      // of all samples
	cursor  Cursor
}

// Cursor is the place of the next batch.
type Cursor struct {
	Epoch int `json:"epoch"`
	Batch int `json:"batch"` // within the epoch
}

// NewStream starts at the first batch of epoch 0. It panics on options that are not positive, without samples, and on a
// sample longer than MaxSeqLength, which the Encoder never makes.
func NewStream(samples Samples, o StreamOptions) *Stream {
	n := samples.Len()
	if o.BatchSize < 1 || o.MaxSeqLength < 1 || n == 0 {
		panic(fmt.Sprintf("dataset.NewStream: %d samples, batch size %d, sequence length %d", n, o.BatchSize, o.MaxSeqLength))
	}
	s := &Stream{samples: samples, options: o, bins: &bins{samples: n}}
	for i := range n {
		tokens := samples.Tokens(i)
		if tokens > o.MaxSeqLength {
			panic(fmt.Sprintf("dataset.NewStream: sample %d has %d tokens, the sequence length is %d", i, tokens, o.MaxSeqLength))
		}
		s.tokens += tokens
	}
	if o.Packing {
		s.bins = pack(samples, orderOf(n, o.Shuffle, o.Seed, packingSequence), o.MaxSeqLength)
	}
	s.begin(Cursor{})
	return s
}

func orderOf(n int, shuffle bool, seed, sequence uint64) []uint32 {
	if shuffle {
		return permutation(n, seed, sequence)
	}
	return inOrder(n)
}

func (s *Stream) begin(c Cursor) {
	if s.order == nil || s.options.Shuffle && c.Epoch != s.cursor.Epoch {
		s.order = nil // two of them may be too many
		s.order = orderOf(s.bins.len(), s.options.Shuffle, s.options.Seed, uint64(c.Epoch))
	}
	s.cursor = c
}

// Next is the batch at the cursor; the cursor moves on, unless a sample cannot be read.
func (s *Stream) Next() (Batch, error) {
	if s.cursor.Batch == s.BatchesPerEpoch() {
		s.begin(Cursor{Epoch: s.cursor.Epoch + 1})
	}
	from := s.cursor.Batch * s.options.BatchSize
	to := min(from+s.options.BatchSize, len(s.order))
	var members []uint32
	for _, bin := range s.order[from:to] {
		members = s.bins.appendTo(members, bin)
	}
	b, err := assemble(s.samples, members)
	if err == nil {
		s.cursor.Batch++
	}
	return b, err
}

func assemble(samples Samples, members []uint32) (Batch, error) {
	tokens := 0
	for _, i := range members {
		tokens += samples.Tokens(int(i))
	}
	b := Batch{
		IDs:       make([]uint32, 0, tokens),
		Positions: make([]uint32, 0, tokens),
		FirstKey:  make([]uint32, 0, tokens),
		Targets:   make([]int32, 0, tokens),
		Sequences: len(members),
	}
	for _, i := range members {
		sample, err := samples.At(int(i))
		if err != nil {
			return Batch{}, err
		}
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
	return b, nil
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
	return (s.bins.len() + s.options.BatchSize - 1) / s.options.BatchSize
}

// Epoch is the progress in epochs: 1.5 in the middle of the second one.
func (s *Stream) Epoch() float64 {
	return float64(s.cursor.Epoch) + float64(s.cursor.Batch)/float64(s.BatchesPerEpoch())
}

// MeanTokens is what a batch has on average.
func (s *Stream) MeanTokens() int {
	return s.tokens * min(s.options.BatchSize, s.bins.len()) / s.bins.len()
}

// MaxTokens bounds the tokens of every batch, which is what buffers have to hold.
func (s *Stream) MaxTokens() int {
	sizes := map[int]int{} // how many bins are of a size
	var members []uint32
	for bin := range s.bins.len() {
		members = s.bins.appendTo(members[:0], uint32(bin))
		size := 0
		for _, i := range members {
			size += s.samples.Tokens(int(i))
		}
		sizes[size]++
	}
	most, left := 0, s.options.BatchSize
	for _, size := range slices.Backward(slices.Sorted(maps.Keys(sizes))) {
		n := min(left, sizes[size])
		most, left = most+n*size, left-n
	}
	return most
}
