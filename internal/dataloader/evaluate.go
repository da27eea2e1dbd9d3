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
func Evaluate(ctx context.Context, e *engine.Engine, samples []dataset.Sample, emit func(events.Event)) (events.Eval, error) {
	start := time.Now()
	meter := events.NewMeter(int64(len(samples)), func(p events.Part) { emit(events.Evaluating{Part: p}) })
	stream := dataset.NewStream(samples, dataset.StreamOptions{BatchSize: 1, MaxSeqLength: Longest(samples)})
	sum, _, targets, err := e.EvaluateBatches(ctx, func(yield func(model.Input) bool) {
		for range stream.BatchesPerEpoch() {
			if !yield(Input(stream.Next())) {
				return
			}
			meter.Add(1)
		}
	})
	if err != nil {
		return events.Eval{}, err
	}
	meter.End()
	mean := sum / float64(targets)
	return events.Eval{
		Loss: mean, Perplexity: math.Exp(mean), TargetTokens: int64(targets), Rows: rows(samples), Seconds: time.Since(start).Seconds(),
	}, nil
}

// rows counts the rows that samples come from: a row may become several.
func rows(samples []dataset.Sample) int {
	seen := map[int]bool{}
	for _, sample := range samples {
		seen[sample.Row] = true
	}
	return len(seen)
}
