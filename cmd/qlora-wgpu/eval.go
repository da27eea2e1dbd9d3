package main

import (
	"encoding/json"
	"fmt"

	"qlora-wgpu/internal/answer"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/trainer"
)

type evalCommand struct {
	Settings settings.Eval `embed:""`
	JSON     bool          `name:"json" help:"Print one line of JSON."`
}

// Run prints the result on stdout and all else on stderr.
func (e *evalCommand) Run(c *console) error {
	stats, err := answer.Evaluate(c.context, e.Settings, c.logEvent)
	if err != nil {
		return err
	}
	if e.JSON {
		return json.NewEncoder(c.stdout).Encode(struct {
			Loss         float64 `json:"loss"`
			Perplexity   float64 `json:"perplexity"`
			TargetTokens int64   `json:"target_tokens"`
		}{stats.Loss, stats.Perplexity, stats.TargetTokens})
	}
	_, err = fmt.Fprintf(c.stdout, "loss %.6f, perplexity %.4f over %d target tokens of %d rows\n",
		stats.Loss, stats.Perplexity, stats.TargetTokens, stats.Rows)
	return err
}

// logEvent keeps stdout free for the result of a command.
func (c *console) logEvent(e trainer.Event) {
	said := e.String()
	switch e.(type) {
	case trainer.Warning:
		c.warn(said)
	case events.Fetching, events.Reading, events.Encoding, events.Evaluating, events.Writing: // which may take an hour
		if c.lasting == nil {
			c.lasting = newReporter(c, 1)
		}
		c.lasting.progress(e.(trainer.Progress))
	case trainer.Progress: // no line to keep
	default:
		if said != "" {
			fmt.Fprintln(c.stderr, said)
		}
	}
}
