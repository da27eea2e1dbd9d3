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

// Evaluate is the mean loss over the samples' target tokens, one sequence at a time; it calls each before every one.
func Evaluate(ctx context.Context, e *engine.Engine, samples []dataset.Sample, each func()) (events.Eval, error) {
	start := time.Now()
	stream := dataset.NewStream(samples, dataset.StreamOptions{BatchSize: 1, MaxSeqLength: Longest(samples)})
	sum, _, targets, err := e.EvaluateBatches(ctx, func(yield func(model.Input) bool) {
		for range stream.BatchesPerEpoch() {
			each()
			if !yield(Input(stream.Next())) {
				return
			}
		}
	})
	if err != nil {
		return events.Eval{}, err
	}
	mean := sum / float64(targets)
	return events.Eval{
		Loss: mean, Perplexity: math.Exp(mean), TargetTokens: int64(targets), Rows: len(samples), Seconds: time.Since(start).Seconds(),
	}, nil
}
