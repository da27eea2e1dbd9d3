package main

import (
	"encoding/json"
	"errors"
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/answer"
	"qlora-wgpu/internal/convert"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/drift"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/settings"
)

// outputs is what a command leaves.
type outputs struct {
	Output    string `json:"output"`
	Modelfile string `json:"modelfile,omitempty"`
}

// Reported is a command whose output is compared with what it was made of.
type Reported struct {
	JSON bool `name:"json" help:"Print one line of JSON: what was written, and drift with the report."`
}

const helpReport = "Then losses and answers are compared with those of the adapter over the base model as training kept that (--report, " +
	"--quantization, --block-size), over rows of --data that training did not see."

// unnamedRows are how many rows of a data set are measured where nobody says which.
const unnamedRows = 100

// with writes a model and reports on it. Rows are read and the device is opened before: what is wrong with either is
// said at once.
func (r Reported) with(
	c *console, weights *convert.Weights, base settings.Source, added settings.Added, to outputs, write func() error,
) error {
	live, err := openLive(c, weights, base, added)
	if err != nil {
		return err
	}
	if live != nil {
		defer live.Close()
	}
	if err := write(); err != nil {
		return err
	}
	for _, name := range []string{to.Output, to.Modelfile} {
		if name == "" || r.JSON {
			continue
		}
		if err := printed(c, name, nil); err != nil {
			return err
		}
	}
	report, err := compare(c, live, weights, added, to.Output)
	if err != nil && (added.Wanted() || c.context.Err() != nil) {
		return err
	}
	if err != nil {
		c.warn(fmt.Sprintf("There is no drift report: %v", err))
	}
	if r.JSON {
		return json.NewEncoder(c.stdout).Encode(struct {
			outputs
			Drift *drift.Report `json:"drift"`
		}{to, report})
	}
	return nil
}

// openLive is what is measured against; nil: there will be no report.
func openLive(c *console, weights *convert.Weights, base settings.Source, s settings.Added) (*drift.Live, error) {
	if s.Report == settings.ReportOff || len(s.Adapters) == 0 {
		return nil, nil
	}
	data, err := driftRows(c, s.Drift)
	if err != nil {
		return nil, err
	}
	o := drift.Options{
		Model: weights.Model(), Adapters: weights.Adapters(), Quantization: s.Quantization, TemplateArgs: s.Args(),
		TrainOn: trainOn(s.TrainOnInputs, s.TrainOn), MaxSeqLength: s.MaxSeqLength,
	}
	if o.ChatTemplate, err = answer.ReadTemplate(o.Model, s.ChatTemplate); err != nil {
		return nil, err
	}
	budget, err := s.Budget.Bytes()
	if err != nil {
		return nil, err
	}
	o.Engine = engine.Options{
		Model: base.Model, Device: s.Device, Autotune: "off", Budget: budget, Cache: host.MeasurementsIn(s.CacheDir), HostMemory: host.Memory,
	}
	live, err := drift.Open(c.context, o, data, c.logEvent)
	switch {
	case err == nil && live.Slow() && !s.Wanted():
		live.Close()
		c.logEvent(events.Info{Message: "There will be no drift report: without a GPU it would take long. --report on makes it all the same."})
		return nil, nil
	case err != nil && !s.Wanted() && (errors.Is(err, gpu.NoAdapter) || o.Model.CheckTokenizer() != nil):
		c.logEvent(events.Info{Message: fmt.Sprintf("There will be no drift report: %v.", err)})
		return nil, nil
	}
	return live, err
}

// driftRows are the rows that are measured.
func driftRows(c *console, s settings.Drift) (*dataset.Source, error) {
	if s.Data == "" {
		return drift.Sentences(), nil
	}
	opened, err := host.OpenData(c.context, s.Dataset, s.CacheDir, c.logEvent)
	if err != nil {
		return nil, err
	}
	defer opened.Close()
	data := opened.Train
	if opened.Valid != nil {
		data = opened.Valid
	}
	if data.IsWeighted() {
		c.logEvent(events.Info{Message: "Weights are for training: here every row counts once."})
	}
	switch n := data.Len(); {
	case s.Rows != "":
		return data.Slice(s.Rows)
	case n > unnamedRows:
		c.logEvent(events.Info{Message: fmt.Sprintf("The drift report takes the last %d of the %d rows of %s; --rows says which.",
			unnamedRows, n, s.Data)})
		return data.Slice(fmt.Sprintf("-%d:", unnamedRows))
	}
	return data, nil
}

// compare measures what was written, and prints that for people.
func compare(c *console, live *drift.Live, weights *convert.Weights, s settings.Added, output string) (*drift.Report, error) {
	if live == nil {
		return nil, nil
	}
	model, err := pretrained.Open(output)
	if err != nil {
		return nil, err
	}
	defer model.Close()
	c.logEvent(events.Info{Message: "Comparing what was written with the adapter (--report off leaves that out) …"})
	report, err := live.Compare(c.context, drift.Written{
		Model: model, Path: output, Merged: weights.Rows(), Dequantized: s.Base == settings.BaseDequantized,
	})
	if err != nil {
		return nil, err
	}
	fmt.Fprint(c.stderr, report)
	for _, warning := range report.Warnings {
		c.warn(warning)
	}
	return report, nil
}
