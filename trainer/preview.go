package trainer

import (
	"slices"
	"strings"

	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/pretrained"
)

// Preview is what a run would learn from, found out without a device.
type Preview struct {
	Format    string           `json:"format"`
	Container string           `json:"container"`
	Steps     int              `json:"steps"`
	Memory    PlanStats        `json:"memory"` // an estimate of the plan: what a dry recording would tell exactly once the model is loaded
	Report    dataset.Report   `json:"report"`
	Warnings  []string         `json:"warnings"`
	Batch     [][]PreviewToken `json:"batch"` // sequences of the run's first micro-batch
}

// PreviewToken is a token's text and whether the model learns to predict it. A character that several tokens share is the last one's text.
type PreviewToken struct {
	Text   string `json:"text"`
	Target bool   `json:"target"`
}

// PreviewData encodes the data as Run would with this configuration. Of the inputs it uses Model, Data, Valid and ChatTemplate.
func PreviewData(c Config, in Inputs) (*Preview, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	p := &Preview{Format: in.Data.Format, Container: in.Data.Container, Warnings: []string{}}
	s := &session{options: sessionOptions{Model: c.Model}, source: in.Model, emit: func(e Event) {
		if e.Kind == "warning" {
			p.Warnings = append(p.Warnings, e.Message)
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
	p.Memory = estimate(c, in.Model, r.totalSteps, r.stream.MaxTokens())
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

// estimate is about what the run will take on the device, from the shapes alone.
func estimate(c Config, source *pretrained.Model, steps, tokens int) PlanStats {
	m := source.Config
	p := PlanStats{Steps: steps, MaxTokens: tokens}
	for _, t := range source.Tensors() {
		n := int64(t.Rows) * int64(t.Cols)
		switch {
		case t.Rows == 1:
			p.Frozen += 4 * n
		case strings.Contains(t.Name, ".layers."):
			p.Frozen += n/2 + n/int64(c.BlockSize)
			p.State += 4 * 4 * int64(c.LoraR) * int64(t.Rows+t.Cols) // parameter, gradient and two moments
		default:
			p.Frozen += 2 * n
		}
	}
	hidden, wide := int64(m.HiddenSize), int64(m.IntermediateSize)
	heads := int64(m.NumAttentionHeads+2*m.NumKeyValueHeads) * int64(m.HeadDim)
	layer := 4*hidden + 3*heads/2 + 3*wide // floats a token that a layer holds from its forward to its backward
	kept := layer * int64(m.NumHiddenLayers)
	if c.GradientCheckpointing {
		kept = hidden*int64(m.NumHiddenLayers) + layer
	}
	const chunk = 128 // supervised tokens that pass through the head at once
	p.Activations = 4*int64(tokens)*kept + 4*int64(min(chunk, tokens))*int64(m.VocabSize)
	p.Device = p.Frozen + p.State + p.Activations
	return p
}
