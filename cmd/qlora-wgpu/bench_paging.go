package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"qlora-wgpu/internal/bench"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
)

type benchPagingCommand struct {
	Settings settings.BenchPaging `embed:""`
	JSON     bool                 `name:"json" help:"Print a JSON object."`
}

// Run measures both runs on the same device.
func (b *benchPagingCommand) Run(c *console) error {
	o := b.Settings
	if err := o.Check(); err != nil {
		return err
	}
	model, name, err := b.open(c)
	if err != nil {
		return err
	}
	defer model.Close()
	dev, err := engine.OpenDevice(c.context, engine.Options{Device: o.Device, Cache: host.MeasurementsIn("")}, c.logEvent)
	if err != nil {
		return err
	}
	defer dev.Release()
	r, err := bench.Paging(c.context, dev, bench.Synthetic{
		Model: model, Name: name, Settings: o.Training(), Steps: o.Steps, Cache: host.MeasurementsIn(""),
	}, func(e events.Event) {
		if s, ok := e.(events.Step); ok {
			fmt.Fprintf(c.stderr, "step %d: %.2f s, %d page-ins, %.0f ms stalled\n", s.Step, s.Seconds, s.PageIns, s.StallMS)
		}
	})
	if err != nil {
		return err
	}
	if o.Model != "" {
		if r.Start, err = bench.Start(c.context, dev, o.Model, o.Quantization, c.logEvent); err != nil {
			return err
		}
	}
	if b.JSON {
		encoder := json.NewEncoder(c.stdout)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	same := "the same losses and adapter, to the byte"
	if !r.SameBytes {
		same = "OTHER losses or another adapter"
	}
	fmt.Fprintf(c.stdout, "%s, %s, %d of %d layers streamed, %d tokens\n", r.Device, r.Model, r.StreamedLayers, r.Layers, r.Tokens)
	fmt.Fprintf(c.stdout, "resident  %.2f s a step, peak %.1f MiB\n", r.ResidentSeconds, float64(r.ResidentPeak)/(1<<20))
	fmt.Fprintf(c.stdout, "streamed  %.2f s a step, peak %.1f MiB, %d page-ins, %.0f ms stalled: %.2f times the resident one\n",
		r.StreamedSeconds, float64(r.StreamedPeak)/(1<<20), r.PageIns, r.StallMS, r.Ratio)
	fmt.Fprintf(c.stdout, "plan      %.2f to %.2f s: %.1f MiB a step at a measured %.1f GB/s\n",
		r.EstimateLow, r.EstimateHigh, float64(r.Moved)/(1<<20), r.Bandwidth)
	if s := r.Staged; s != nil {
		fmt.Fprintf(c.stdout,
			"staged    %.2f s a step, peak %.1f MiB, %.0f ms stalled, %.1f GB/s: the same through staging buffers, which this device does without\n",
			s.Seconds, float64(s.Peak)/(1<<20), s.StallMS, s.Bandwidth)
	}
	fmt.Fprintln(c.stdout, "all have", same)
	if r.Start != nil {
		fmt.Fprintf(c.stdout, "start     %.2f s quantizing, %.2f s from the cache: %.2f times the first\n",
			r.Start.FirstSeconds, r.Start.SecondSeconds, r.Start.Ratio)
	}
	return nil
}

func (b *benchPagingCommand) open(c *console) (*pretrained.Model, string, error) {
	o := b.Settings
	switch {
	case (o.Model == "") == (o.Arch == ""):
		return nil, "", usererr.New("bench", "", "one of --model and --arch is wanted").
			Hinted("--arch knows %s", strings.Join(pretrained.ShapeNames(), ", "))
	case o.Model != "":
		model, err := host.OpenModel(c.context, o.Model, c.logEvent)
		return model, o.Model, err
	}
	if _, _, err := archShape(o.Arch); err != nil {
		return nil, "", err
	}
	model, err := bench.RandomModel(o.Shape)
	return model, o.Arch, err
}
