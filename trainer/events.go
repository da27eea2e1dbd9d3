package trainer

import "qlora-wgpu/internal/events"

// What a run tells: a consumer switches on the type.
type (
	// Event is one of the types below, or a line for people, its String.
	Event = events.Event
	// Warning is what the user should know, and may not have wanted.
	Warning = events.Warning
	// StepStats is one optimizer step.
	StepStats = events.Step
	// EvalStats is one evaluation.
	EvalStats = events.Eval
)

// Summary is what a finished run left.
type Summary struct {
	Steps      int
	Loss       float64 // of the last step
	Eval       *EvalStats
	AdapterDir string
	Seconds    float64
}
