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
	best, mean := l.Stream.Next(), l.Stream.MeanTokens()
	far := func(b dataset.Batch) int { return abs(len(b.IDs) - mean) }
	for range looked - 1 {
		if b := l.Stream.Next(); far(b) < far(best) {
			best = b
		}
	}
	return Input(best), l.Stream.Seek(start)
}

// TypicalRow is the row to evaluate whose tokens are nearest to an average one's; without such rows it is empty.
func (l *Loader) TypicalRow() model.Input {
	if len(l.Validation) == 0 {
		return model.Input{}
	}
	tokens := 0
	for _, s := range l.Validation {
		tokens += len(s.IDs)
	}
	mean, best := tokens/len(l.Validation), l.Validation[0]
	for _, s := range l.Validation {
		if abs(len(s.IDs)-mean) < abs(len(best.IDs)-mean) {
			best = s
		}
	}
	one := dataset.StreamOptions{BatchSize: 1, MaxSeqLength: len(best.IDs)}
	return Input(dataset.NewStream([]dataset.Sample{best}, one).Next())
}

// TypicalAnswer is how many tokens of a sample are targets, on average.
func (l *Loader) TypicalAnswer() int { return l.Report.TargetTokens / max(1, l.Report.Samples) }

// MicroBatchesPerStep is how many a step has on average: the last one of an epoch may have fewer.
func (l *Loader) MicroBatchesPerStep() float64 {
	return float64(l.Stream.BatchesPerEpoch()) / float64(l.stepsPerEpoch())
}

func abs(n int) int { return max(n, -n) }
