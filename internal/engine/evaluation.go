package engine

import (
	"context"
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/model"
)

// evaluate submits the forward pass of a micro-batch: e.stats gets the sum of its losses.
func (e *Engine) evaluate(in model.Input, loss model.Loss) error {
	rec := e.Device.Record("evaluate")
	rec.Upload(e.stats.Single(), make([]byte, 4*kernels.StatCount))
	e.begin(programEvaluate)
	e.evaluatePass(rec, in, loss)
	e.arena.End()
	if err := rec.Submit(); err != nil {
		return fmt.Errorf("%w: %w", ErrFault, err)
	}
	return nil
}

// TargetLosses are the cross-entropies [S] of a micro-batch's target tokens, in their order: the negative logarithms of
// the probabilities that the model gives them. The micro-batch is one that evaluations are reserved for. Errors are
// ErrFault and ctx's.
func (e *Engine) TargetLosses(ctx context.Context, in model.Input) ([]float32, error) {
	if rows, _ := in.Supervised(); len(rows) == 0 {
		return nil, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	var loss foundLosses
	if err := e.evaluate(in, &loss); err != nil {
		return nil, err
	}
	losses, err := e.Device.ReadFloat32(ctx, loss.losses)
	if err != nil {
		return nil, e.ReadError(ctx, err)
	}
	return losses, nil
}

// foundLosses is the cross-entropy, and where in the arena a pass left its losses: nothing is recorded behind their
// sum, so they stand there until the next program.
type foundLosses struct {
	model.CrossEntropy
	losses *gpu.Tensor // F32 [1, S]
}

// Rows implements model.Loss.
func (l *foundLosses) Rows(rec *gpu.Recorder, rows model.LossRows, gradient bool) {
	l.losses = rows.Losses
	l.CrossEntropy.Rows(rec, rows, gradient)
}
