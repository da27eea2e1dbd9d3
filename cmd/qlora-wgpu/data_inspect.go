package main

import (
	"encoding/json/jsontext"
	"encoding/json/v2"
	"fmt"
	"os"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/inspect"
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
		if err := mayWrite(opInspect, d.Settings.Force, d.Settings.HTML, d.Settings.HTML); err != nil {
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
		return json.MarshalEncode(jsontext.NewEncoder(c.stdout, jsontext.WithIndent("  ")), found)
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
	splits, data, err := openSplits(c, s.Dataset, s.Part) // before a model is fetched
	if err != nil {
		return nil, err
	}
	defer data.Close()
	o := inspect.Options{Samples: samples, MaxSeqLength: s.MaxSeqLength, TrainOn: trainOn(s.TrainOnInputs, s.TrainOn), Model: s.Model}
	if s.Model != "" {
		var longest int
		if o.Text, longest, err = openProcessor(c, s.Model, s.Template); err != nil {
			return nil, err
		}
		o.MaxSeqLength = min(o.MaxSeqLength, longest)
	}
	return lookAt(c, o, splits)
}

// looking is how many rows were looked at.
type looking struct{ events.Part }

func (looking) Kind() string { return "looking" }

func (l looking) String() string { return fmt.Sprintf("Looking at rows: %d of %d", l.Done, l.Total) }

// lookAt looks at all rows, and shows how far that is.
func lookAt(c *console, o inspect.Options, splits []namedSplit) (*inspect.Inspector, error) {
	r, rows := newReporter(c, 1), 0
	defer r.end()
	for _, split := range splits {
		rows += split.Len()
	}
	meter := events.NewMeter(int64(rows), func(p events.Part) { r.progress(looking{p}) })
	o.Looked = func(rows int) { meter.Add(int64(rows)) }
	inspector := inspect.New(o)
	for _, split := range splits {
		if err := inspector.Source(c.context, split.name, split.Source); err != nil {
			return nil, err
		}
	}
	meter.End()
	return inspector, nil
}

// namedSplit is a part of a data set.
type namedSplit struct {
	name string
	*dataset.Source
}

const (
	trainSplit = "train"
	validSplit = "valid"
)

// openSplits reads a data set, which is to be closed: the training rows, or a part of them, and the rows to evaluate
// where there are any.
func openSplits(c *console, d settings.Dataset, part settings.Part) ([]namedSplit, *host.DataSet, error) {
	data, err := host.OpenData(c.context, d, "", c.logEvent)
	if err != nil {
		return nil, nil, err
	}
	if data.Train.IsWeighted() {
		fmt.Fprintln(c.stderr, "Weights are for training: here every row counts once.")
	}
	if part.Rows != "" {
		if data.Train, err = data.Train.Slice(part.Rows); err != nil {
			data.Close()
			return nil, nil, err
		}
	}
	splits := []namedSplit{{trainSplit, data.Train}}
	if data.Valid != nil {
		splits = append(splits, namedSplit{validSplit, data.Valid})
	}
	return splits, data, nil
}

// trainOn is what train_on_inputs and train_on mean.
func trainOn(inputs bool, on string) chat.TrainOn {
	switch {
	case inputs:
		return chat.TrainOnAll
	case on == "last":
		return chat.TrainOnLast
	}
	return chat.TrainOnAssistant
}
