package main

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"os"
	"time"

	"qlora-wgpu/internal/answer"
	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/inspect"
	"qlora-wgpu/internal/processor"
	"qlora-wgpu/internal/settings"
)

type dataInspectCommand struct {
	Settings settings.Inspect `embed:""`
	JSON     bool             `name:"json" help:"Print a JSON object."`
}

const opInspect = "inspect data set"

// Run looks at all rows and prints what there is to say of them.
func (d *dataInspectCommand) Run(c *console) error {
	if err := d.Settings.Check(); err != nil {
		return err
	}
	if d.Settings.HTML != "" {
		if err := mayWrite(opInspect, d.Settings.Force, d.Settings.HTML); err != nil {
			return err
		}
	}
	inspector, err := inspectData(c, d.Settings.Looked, 3)
	if err != nil {
		return err
	}
	found, err := inspector.Findings()
	if err != nil {
		return err
	}
	if d.Settings.HTML != "" {
		if err := writeOutput(opInspect, d.Settings.HTML, found.HTML); err != nil {
			return err
		}
	}
	if d.JSON {
		return json.MarshalWrite(c.stdout, found, jsontext.WithIndent("  "))
	}
	colour := c.screen && os.Getenv("NO_COLOR") == ""
	out := c.stdout
	if colour { // what rows hold is escaped before
		out = bare(out)
	}
	return found.Text(out, colour)
}

// inspectData reads a data set and looks at its rows, with the eyes of a model where one is given.
func inspectData(c *console, s settings.Looked, samples int) (*inspect.Inspector, error) {
	var err error
	o := inspect.Options{Samples: samples, MaxSeqLength: s.MaxSeqLength, TrainOn: trainOn(s)}
	if s.Model != "" {
		if o.Text, o.MaxSeqLength, err = openTextSide(c, s); err != nil {
			return nil, err
		}
		o.Model = s.Model
	}
	data, err := host.OpenData(c.context, s.Dataset, "", c.logEvent)
	if err != nil {
		return nil, err
	}
	defer data.Close()
	sources := []*dataset.Source{data.Train, data.Valid}
	if s.Rows != "" {
		if sources[0], err = sources[0].Slice(s.Rows); err != nil {
			return nil, err
		}
	}
	inspector := inspect.New(o)
	for i, source := range sources {
		if source == nil {
			continue
		}
		if err := inspector.Source(c.context, []string{"train", "valid"}[i], source); err != nil {
			return nil, err
		}
	}
	return inspector, nil
}

func trainOn(s settings.Looked) chat.TrainOn {
	switch {
	case s.TrainOnInputs:
		return chat.TrainOnAll
	case s.TrainOn == "last":
		return chat.TrainOnLast
	}
	return chat.TrainOnAssistant
}

// openTextSide opens tokenizer and template of a model, and gives the longest sample that it allows.
func openTextSide(c *console, s settings.Looked) (*processor.Processor, int, error) {
	model, err := host.DescribeModel(c.context, s.Model, c.logEvent)
	if err != nil {
		return nil, 0, err
	}
	defer model.Close()
	source, err := answer.ReadTemplate(model, s.ChatTemplate)
	if err != nil {
		return nil, 0, err
	}
	text, err := processor.New(model, s.Model, processor.Options{ChatTemplate: source, TemplateArgs: s.Args(), Now: time.Now()})
	return text, min(s.MaxSeqLength, model.Spec.MaxPositions), err
}
