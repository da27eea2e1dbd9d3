package dataloader

import (
	"context"
	"math"
	"time"

	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/model"
)

// Evaluate is the mean loss over the samples' target tokens, one sequence at a time.
func Evaluate(ctx context.Context, e *engine.Engine, samples dataset.Samples, emit func(events.Event)) (events.Eval, error) {
	start := time.Now()
	meter := events.NewMeter(int64(samples.Len()), func(p events.Part) { emit(events.Evaluating{Part: p}) })
	stream := dataset.NewStream(samples, dataset.StreamOptions{BatchSize: 1, MaxSeqLength: dataset.Longest(samples)})
	var unread error
	rows, last := 0, -1 // a row may have become several samples, which follow one another
	sum, _, targets, err := e.EvaluateBatches(ctx, func(yield func(model.Input) bool) {
		for range stream.BatchesPerEpoch() {
			b, err := stream.Next()
			if err != nil {
				unread = err
				return
			}
			if row := b.Rows[0]; row != last {
				rows, last = rows+1, row
			}
			if !yield(Input(b)) {
				return
			}
			meter.Add(1)
		}
	})
	if unread != nil {
		return events.Eval{}, unread
	}
	if err != nil {
		return events.Eval{}, err
	}
	meter.End()
	mean := sum / float64(targets)
	return events.Eval{
		Loss: mean, Perplexity: math.Exp(mean), TargetTokens: int64(targets), Rows: rows, Seconds: time.Since(start).Seconds(),
	}, nil
}
