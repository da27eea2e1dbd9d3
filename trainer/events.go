package trainer

import (
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/events"
)

// What a run tells: a consumer switches on the type.
type (
	// Event is one of the types below, or another, whose String is a line for people; empty: there is nothing to read.
	Event = events.Event
	// Progress says how far something is that takes its time, until the next one of its kind: its String is to stand for
	// that long, and no line to keep.
	Progress = events.Progress
	// Warning is what the user should know, and may not have wanted.
	Warning = events.Warning
	// StepStats is one optimizer step.
	StepStats = events.Step
	// EvalStats is one evaluation.
	EvalStats = events.Eval
)

// Room is the memory that a run may take, as far as that is known before anything is loaded.
type Room = engine.Room

// ErrEngineFault marks an error of the device or its driver: not the user's mistake, and worth another try from the
// last checkpoint.
var ErrEngineFault = engine.ErrFault

// Summary is what a finished run left.
type Summary struct {
	Steps      int
	Loss       float64 // of the last step
	Eval       *EvalStats
	AdapterDir string
	Seconds    float64
}
