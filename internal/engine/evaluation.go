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

// TargetLogits gives visit the logits of a micro-batch's target tokens: n rows [n, V] at a time, those of the targets
// from the first-th on, the last ones first. Rows are V padded apart. The micro-batch is one sequence that evaluations
// are reserved for; it is evaluated once for each of the head's parts, of which only the last one's logits are left.
// Errors are ErrFault, ctx's and visit's.
func (e *Engine) TargetLogits(ctx context.Context, in model.Input, visit func(first int, rows [][]float32) error) error {
	for {
		rows, _ := in.Supervised()
		if len(rows) == 0 {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		in = in.First(int(rows[len(rows)-1]) + 1)
		var part foundLogits
		if err := e.evaluate(in, &part); err != nil {
			return err
		}
		values, err := e.Device.ReadFloat32(ctx, part.Logits)
		if err != nil {
			return e.ReadError(ctx, err)
		}
		found := make([][]float32, part.Logits.Rows)
		for i := range found {
			at := i * part.Logits.Cols
			found[i] = values[at : at+part.Vocab]
		}
		if err := visit(part.First, found); err != nil {
			return err
		}
		if part.First == 0 {
			return nil
		}
		in = in.First(int(rows[part.First-1]) + 1)
	}
}

// foundLogits is the cross-entropy, and the last rows that a pass handed it, whose logits stand in the arena as
// foundLosses' losses do.
type foundLogits struct {
	model.CrossEntropy
	model.LossRows
}

// Rows implements model.Loss.
func (l *foundLogits) Rows(rec *gpu.Recorder, rows model.LossRows, gradient bool) {
	l.LossRows = rows
	l.CrossEntropy.Rows(rec, rows, gradient)
}
