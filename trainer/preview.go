package trainer

import (
	"slices"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/paging"
)

// Preview is what a run would learn from and take, found out without loading the model.
type Preview struct {
	Format    string           `json:"format"`
	Container string           `json:"container"`
	Steps     int              `json:"steps"`
	Memory    *paging.Plan     `json:"memory"`
	Shortage  *Shortage        `json:"shortage"` // the run does not fit the room; nil: it does
	Report    dataset.Report   `json:"report"`
	Warnings  []string         `json:"warnings"`
	Batch     [][]PreviewToken `json:"batch"` // sequences of the run's first micro-batch
}

// PreviewToken is a token's text and whether the model learns to predict it. A character that several tokens share is the last one's text.
type PreviewToken struct {
	Text   string `json:"text"`
	Target bool   `json:"target"`
}

// PreviewData encodes the data and plans the memory as Run would with this configuration, and reads no weight. Of the inputs it uses Model, Data, Valid,
// ChatTemplate, Room and, where it is given, Opened.
func PreviewData(c Config, in Inputs) (*Preview, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	p := &Preview{Format: in.Data.Format, Container: in.Data.Container, Warnings: []string{}}
	s := &session{options: sessionOptions{Model: c.Model}, source: in.Model, emit: func(e Event) {
		if warning, ok := e.(events.Warning); ok {
			p.Warnings = append(p.Warnings, warning.Message)
		}
	}}
	var named bool
	var err error
	if s.tokenizer, s.template, named, err = OpenTokenizer(in.Model, c.Model, in.ChatTemplate); err != nil {
		return nil, err
	}
	if !named {
		p.Warnings = append(p.Warnings, "The model has no chat template: conversations are written in ChatML.")
	}
	r := &run{config: c, session: s, template: in.ChatTemplate, data: in.Data}
	if err := r.prepareData(in.Valid); err != nil {
		return nil, err
	}
	p.Steps, p.Report = r.totalSteps, r.report
	dev := in.Opened
	if dev == nil {
		dev = gpu.NewDryDiscrete()
	}
	budget, err := ParseBudget(c.VRAMBudget)
	if err != nil {
		return nil, err
	}
	if p.Memory, err = r.demand(in).plan(dev, budget); err != nil {
		return nil, s.about(err)
	}
	if p.Shortage, err = r.checkRoom(dev, in, p.Memory); err != nil {
		return nil, s.about(err)
	}
	p.Warnings = append(p.Warnings, in.Data.Notes...)
	batch := r.stream.Next()
	starts := slices.Compact(slices.Clone(batch.FirstKey))
	for i, first := range starts {
		end := uint32(len(batch.IDs))
		if i+1 < len(starts) {
			end = starts[i+1]
		}
		var sequence []PreviewToken
		text := s.tokenizer.Stream()
		for at := first; at < end; at++ {
			// A target stands at the token before it, from which it is predicted.
			target := at > first && batch.Targets[at-1] >= 0
			sequence = append(sequence, PreviewToken{text.Push(int32(batch.IDs[at])), target})
		}
		sequence[len(sequence)-1].Text += text.Flush()
		p.Batch = append(p.Batch, sequence)
	}
	return p, nil
}
