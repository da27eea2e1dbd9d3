package dataloader

import (
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/model"
)

// Typical is, of the micro-batches that come next, the one whose tokens are nearest to an average one's. The stream
// stays where it is.
func (l *Loader) Typical() (model.Input, error) {
	const looked = 64
	start := l.Stream.Cursor()
	mean := l.Stream.MeanTokens()
	far := func(b dataset.Batch) int { return abs(len(b.IDs) - mean) }
	var best dataset.Batch
	for i := range looked {
		b, err := l.Stream.Next()
		if err != nil {
			return model.Input{}, err
		}
		if i == 0 || far(b) < far(best) {
			best = b
		}
	}
	return Input(best), l.Stream.Seek(start)
}

// TypicalRow is the row to evaluate whose tokens are nearest to an average one's; without such rows it is empty.
func (l *Loader) TypicalRow() (model.Input, error) {
	rows := l.Validation
	if rows.Len() == 0 {
		return model.Input{}, nil
	}
	tokens := 0
	for i := range rows.Len() {
		tokens += rows.Tokens(i)
	}
	mean, best := tokens/rows.Len(), 0
	for i := range rows.Len() {
		if abs(rows.Tokens(i)-mean) < abs(rows.Tokens(best)-mean) {
			best = i
		}
	}
	sample, err := rows.At(best)
	if err != nil {
		return model.Input{}, err
	}
	one := dataset.StreamOptions{BatchSize: 1, MaxSeqLength: len(sample.IDs)}
	b, err := dataset.NewStream(dataset.InMemory{sample}, one).Next()
	return Input(b), err
}

// TypicalAnswer is how many tokens of a sample are targets, on average.
func (l *Loader) TypicalAnswer() int { return l.Report.TargetTokens / max(1, l.Report.Samples) }

// MicroBatchesPerStep is how many a step has on average: the last one of an epoch may have fewer.
func (l *Loader) MicroBatchesPerStep() float64 {
	return float64(l.Stream.BatchesPerEpoch()) / float64(l.stepsPerEpoch())
}

func abs(n int) int { return max(n, -n) }
