package trainer

import (
	"context"
	"math"

	"qlora-wgpu/internal/dataloader"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/events"
)

// prepareWatch takes the run's first micro-batch, whose probabilities are told; the stream stays where it is.
func (r *run) prepareWatch() error {
	if !r.in.Watch {
		return nil
	}
	start := r.loader.Stream.Cursor()
	first, err := r.loader.Stream.Next()
	if err != nil {
		return err
	}
	r.watched = &first
	return r.loader.Stream.Seek(start)
}

// tellProbabilities emits what the model gives the watched targets after a step.
func (r *run) tellProbabilities(ctx context.Context, step int) error {
	if r.watched == nil {
		return nil
	}
	losses, err := r.engine.TargetLosses(ctx, dataloader.Input(*r.watched))
	if err != nil {
		return err
	}
	r.emit(events.Probabilities{Step: step, Sequences: probabilities(*r.watched, losses)})
	return nil
}

// probabilities are those of a micro-batch's tokens, sequence by sequence; losses are its targets', in their order.
func probabilities(b dataset.Batch, losses []float32) (all [][]events.Probability) {
	for first, end := range b.Spans() {
		sequence := make([]events.Probability, end-first)
		for i := range sequence {
			sequence[i] = events.NoProbability
			if b.Predicted(first + i) {
				sequence[i], losses = events.Probability(math.Exp(-float64(losses[0]))), losses[1:]
			}
		}
		all = append(all, sequence)
	}
	return all
}
