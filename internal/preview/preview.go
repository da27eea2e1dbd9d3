// Package preview shows what a run would be before anything is loaded: what it learns from, what it takes of memory,
// and what quantization does with the weights.
package preview

import (
	"context"
	"time"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/dataloader"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/processor"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/paging"
)

// Preview is what a run would learn from and take.
type Preview struct {
	Format    string              `json:"format"`
	Container string              `json:"container"`
	Steps     int                 `json:"steps"`
	Memory    *paging.Plan        `json:"memory"`
	Shortage  *engine.Shortage    `json:"shortage"` // the run does not fit the room; nil: it does
	Report    dataset.Report      `json:"report"`
	Warnings  []string            `json:"warnings"`
	Batch     [][]processor.Token `json:"batch"` // sequences of the run's first micro-batch
}

// Inputs are the opened files of the run, and what is known of the machine.
type Inputs struct {
	Model        *pretrained.Model
	Data, Valid  *dataset.Source // Valid may be nil
	ChatTemplate string          // Jinja source replacing the model's; empty: the model's
	Room         engine.Room
	Opened       *gpu.Device // whose limits count; nil: WebGPU's defaults
}

// Of encodes the data and plans the memory as a run with these settings would, and reads no weight. Errors are
// *usererr.Error, or ctx's.
func Of(ctx context.Context, c settings.Train, in Inputs) (*Preview, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	text, err := processor.New(in.Model, c.Model, processor.Options{
		ChatTemplate: in.ChatTemplate, TemplateArgs: c.Args(), Now: time.Now(),
	})
	if err != nil {
		return nil, err
	}
	p := &Preview{Format: in.Data.Format, Container: in.Data.Container, Warnings: []string{}}
	p.Warnings = append(p.Warnings, in.Model.Warnings...)
	p.Warnings = append(p.Warnings, text.Warnings...)
	shape := in.Model.Spec
	loader, err := dataloader.New(ctx, c, text, shape, in.Data, in.Valid, nil, func(e events.Event) {
		if warning, ok := e.(events.Warning); ok {
			p.Warnings = append(p.Warnings, warning.Message)
		}
	})
	if err != nil {
		return nil, err
	}
	p.Steps, p.Report = loader.TotalSteps, loader.Report
	dev := in.Opened
	if dev == nil {
		dev = gpu.NewDryDiscrete()
	}
	budget, err := c.Budget.Bytes()
	if err != nil {
		return nil, err
	}
	demand := loader.Demand(shape)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if p.Memory, err = demand.Plan(dev, budget); err != nil {
		return nil, engine.About(err, c.Model)
	}
	if p.Shortage, err = in.Room.Shortage(dev, demand, p.Memory, loader.Cuts()); err != nil {
		return nil, engine.About(err, c.Model)
	}
	p.Warnings = append(p.Warnings, in.Data.Notes...)
	batch, err := loader.Stream.Next()
	if err != nil {
		return nil, err
	}
	p.Batch, err = sequences(batch, text, in.Data)
	return p, err
}

// sequences are a micro-batch's, token by token.
func sequences(batch dataset.Batch, text *processor.Processor, data *dataset.Source) (all [][]processor.Token, err error) {
	rows, err := data.Some(batch.Rows...)
	if err != nil {
		return nil, err
	}
	for first, end := range batch.Spans() {
		row, turns := rows[batch.Rows[len(all)]], batch.Turns[len(all)]
		sequence, err := text.Tokens(batch.IDs[first:end], row, turns)
		if err != nil {
			return nil, err
		}
		for i := range sequence {
			sequence[i].Target = batch.Predicted(first + i)
		}
		all = append(all, sequence)
	}
	return all, nil
}
