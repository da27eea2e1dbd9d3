// Package events holds what a run tells whoever shows or logs it: one type a kind. What a consumer decides by is a
// field; String is for people alone: a line to keep, or of a Progress what is to stand until the next one. It is empty
// where there is nothing to read.
package events

import (
	"fmt"

	"qlora-wgpu/paging"
)

// Event is something that happened. Its JSON is its fields; Kind names its type, for a message that carries several
// types.
type Event interface {
	fmt.Stringer
	Kind() string
}

// Info is worth a line of the log.
type Info struct {
	Message string `json:"message"`
}

// Warning is what the user should know, and may not have wanted.
type Warning struct {
	Message string `json:"message"`
}

// Preparing tells of work before the first step that begins, or has come to its end: checking the kernels, measuring
// their variants.
type Preparing struct {
	Message string `json:"message"`
}

// Memory is the plan of where everything lies.
type Memory struct{ *paging.Plan }

// Schedule is what the steps of a run will be.
type Schedule struct {
	Steps                     int     `json:"steps"`
	GradientAccumulationSteps int     `json:"gradient_accumulation_steps"`
	BatchSize                 int     `json:"batch_size"`
	LearningRate              float64 `json:"learning_rate"`
	LRSchedulerType           string  `json:"lr_scheduler_type"`
	WarmupSteps               int     `json:"warmup_steps"`
	Epochs                    float64 `json:"epochs"`
}

// Reserved is what a run has taken before its first step, in bytes on the device.
type Reserved struct {
	Steps       int   `json:"steps"`
	Device      int64 `json:"device"` // all that is reserved, the following parts among it
	Frozen      int64 `json:"frozen"`
	State       int64 `json:"state"` // adapter, gradients and moments
	Activations int64 `json:"activations"`
	MaxTokens   int   `json:"max_tokens"` // of a micro-batch
}

// Answer is an answer to one of the run's prompts after a step; step 0 is the base model. It is a line of
// trainer_log.jsonl.
type Answer struct {
	Step   int    `json:"step"`
	Prompt string `json:"prompt"`
	Answer string `json:"answer"`
}

// Checkpoint says that a checkpoint is complete.
type Checkpoint struct {
	Step int `json:"step"`
}

// Done ends a run that came to its end.
type Done struct {
	Steps           int     `json:"steps"`
	Skipped         int     `json:"skipped"` // of them without an update
	Seconds         float64 `json:"seconds"`
	PeakDeviceBytes int64   `json:"peak_device_bytes"`
	PageIns         int     `json:"page_ins"` // pages copied to the device since this start
	PageOuts        int     `json:"page_outs"`
	StallSeconds    float64 `json:"stall_seconds"`
}

func (Info) Kind() string       { return "info" }
func (Warning) Kind() string    { return "warning" }
func (Preparing) Kind() string  { return "preparing" }
func (Memory) Kind() string     { return "memory" }
func (Schedule) Kind() string   { return "schedule" }
func (Reserved) Kind() string   { return "reserved" }
func (Answer) Kind() string     { return "answer" }
func (Step) Kind() string       { return "step" }
func (Eval) Kind() string       { return "eval" }
func (Checkpoint) Kind() string { return "checkpoint" }
func (Done) Kind() string       { return "done" }

func (e Info) String() string      { return e.Message }
func (e Warning) String() string   { return e.Message }
func (e Preparing) String() string { return e.Message }
func (Reserved) String() string    { return "" }
func (Answer) String() string      { return "" }

func (e Memory) String() string { return e.Plan.String() }

func (e Schedule) String() string {
	return fmt.Sprintf("Plan: %d steps of %d × %d sequences, learning rate %g (%s, %d steps of warm-up), about %.2f epochs",
		e.Steps, e.GradientAccumulationSteps, e.BatchSize, e.LearningRate, e.LRSchedulerType, e.WarmupSteps, e.Epochs)
}

func (e Checkpoint) String() string { return fmt.Sprintf("Saved checkpoint-%d.", e.Step) }

func (e Done) String() string {
	said := fmt.Sprintf("Trained %d steps in %.0f s. At most %s of device memory.",
		e.Steps, e.Seconds, paging.Size(e.PeakDeviceBytes))
	if e.PageIns > 0 {
		said += fmt.Sprintf(" %d pages in, %d out, %.1f s stalled.", e.PageIns, e.PageOuts, e.StallSeconds)
	}
	if e.Skipped > 0 {
		said += fmt.Sprintf(" %d of them made no update.", e.Skipped)
	}
	return said
}
