package drift

import (
	"context"
	"math"
	"runtime"

	"golang.org/x/sync/errgroup"

	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/events"
)

// answer is what a model says about the next token where an answer has one.
type answer struct {
	logits []float32 // [V]; nil where they are not held
	target uint32
	loss   float64 // negative log-probability of the target
	kl     float64 // of the live adapter's probabilities from these
	same   bool    // both have the same likeliest token
}

// answers are an engine's at all tokens that are measured, with their logits.
func (l *Live) answers(ctx context.Context, e *engine.Engine) ([]answer, error) {
	return l.each(ctx, e, func(_ int, a *answer, logits []float32) {
		a.logits = append([]float32(nil), logits...)
		a.loss, a.same = logSumExp(logits)-float64(logits[a.target]), true
	})
}

// against measures an engine against the live adapter's answers; kept says how its weights are.
func (l *Live) against(ctx context.Context, e *engine.Engine, live []answer, kept string) (Measured, error) {
	answers, err := l.each(ctx, e, func(i int, a *answer, logits []float32) {
		a.loss = logSumExp(logits) - float64(logits[a.target])
		a.kl, a.same = divergence(live[i].logits, logits), likeliest(live[i].logits) == likeliest(logits)
	})
	return measured(answers, kept), err
}

// each gives the logits at all tokens that are measured to look, in no order and at once.
func (l *Live) each(ctx context.Context, e *engine.Engine, look func(i int, a *answer, logits []float32)) ([]answer, error) {
	answers, before := make([]answer, l.tokens), 0
	meter := events.NewMeter(int64(len(l.rows)), func(p events.Part) { l.emit(events.Evaluating{Part: p}) })
	defer meter.End()
	for _, r := range l.rows {
		for _, in := range r.inputs {
			_, targets := in.Supervised()
			err := e.TargetLogits(ctx, in, func(first int, rows [][]float32) error {
				var group errgroup.Group
				group.SetLimit(runtime.GOMAXPROCS(0))
				for n, logits := range rows {
					group.Go(func() error {
						i := before + first + n
						answers[i].target = targets[first+n]
						look(i, &answers[i], logits)
						return nil
					})
				}
				return group.Wait()
			})
			if err != nil {
				return nil, err
			}
			before += len(targets)
		}
		meter.Add(1)
	}
	return answers, nil
}

// measured are the means over the answers.
func measured(answers []answer, kept string) Measured {
	m, n, same := Measured{Weights: kept}, float64(len(answers)), 0
	for _, a := range answers {
		m.Loss += a.loss / n
		m.KL += a.kl / n
		if a.same {
			same++
		}
	}
	m.SameToken = float64(same) / n
	return m
}

// divergence is the Kullback-Leibler divergence of what one row of logits means from what another does, in nats:
// Σ p (ln p − ln q).
func divergence(live, other []float32) (kl float64) {
	p, q := logSumExp(live), logSumExp(other)
	for i, x := range live {
		lnP := float64(x) - p
		kl += math.Exp(lnP) * (lnP - float64(other[i]) + q)
	}
	return max(kl, 0) // where both are the same, rounding leaves either sign; a NaN stays one
}

// logSumExp is ln Σ exp, in float64.
func logSumExp(logits []float32) float64 {
	top := float64(logits[likeliest(logits)])
	sum := 0.0
	for _, x := range logits {
		sum += math.Exp(float64(x) - top)
	}
	return top + math.Log(sum)
}

// likeliest is the place of the largest of them, the first of equals.
func likeliest(logits []float32) (at int) {
	for i, x := range logits {
		if x > logits[at] {
			at = i
		}
	}
	return at
}
