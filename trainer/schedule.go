package trainer

import "math"

// Schedule gives the learning rate of each optimizer step, equal to get_scheduler of Hugging Face transformers
// (optimization.py). With s the updates done so far, W the steps of warm-up and N all steps, the rate is base times
//
//	constant               1                                    (no warm-up at all)
//	constant_with_warmup   s < W: s / W    else 1
//	linear                 s < W: s / W    else max(0, (N - s) / max(1, N - W))
//	cosine                 s < W: s / W    else max(0, (1 + cos(π (s - W) / max(1, N - W))) / 2)
//
// so the first step of a schedule that warms up has rate 0.
type Schedule struct {
	Type   string
	Base   float64
	Warmup int
	Total  int
}

// NewSchedule lays the configured schedule over totalSteps optimizer steps. The warm-up is warmup_steps, or where that
// is 0, ⌈totalSteps · warmup_ratio⌉.
func NewSchedule(c Config, totalSteps int) Schedule {
	warmup := c.WarmupSteps
	if warmup == 0 {
		warmup = int(math.Ceil(float64(totalSteps) * c.WarmupRatio))
	}
	return Schedule{Type: c.LRSchedulerType, Base: c.LearningRate, Warmup: warmup, Total: totalSteps}
}

// WarmupWithin is how many steps of the run warm up.
func (s Schedule) WarmupWithin() int {
	if s.Type == Constant {
		return 0
	}
	return min(s.Warmup, s.Total)
}

// Peak is the highest rate of the run's steps.
func (s Schedule) Peak() float64 { return s.LearningRate(min(s.Warmup, max(0, s.Total-1))) }

// LearningRate is the rate of the optimizer step that follows `done` finished ones: 0 for the first step of a run.
func (s Schedule) LearningRate(done int) float64 {
	return s.Base * s.factor(done)
}

func (s Schedule) factor(done int) float64 {
	if s.Type == Constant {
		return 1
	}
	if done < s.Warmup {
		return float64(done) / float64(s.Warmup)
	}
	rest := float64(max(1, s.Total-s.Warmup))
	switch s.Type {
	case ConstantWithWarmup:
		return 1
	case Linear:
		return math.Max(0, float64(s.Total-done)/rest)
	case Cosine:
		return math.Max(0, 0.5*(1+math.Cos(math.Pi*(float64(done-s.Warmup)/rest))))
	}
	panic("trainer: no learning-rate schedule is named " + s.Type)
}
