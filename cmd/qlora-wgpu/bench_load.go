package main

import (
	"encoding/json"
	"fmt"

	"qlora-wgpu/internal/bench"
	"qlora-wgpu/internal/settings"
)

type benchLoadCommand struct {
	Settings settings.BenchLoad `embed:""`
	JSON     bool               `name:"json" help:"Print one object of JSON."`
}

// Run prints the result on stdout.
func (b *benchLoadCommand) Run(c *console) error {
	r, err := bench.Load(c.context, b.Settings, c.logEvent)
	if err != nil {
		return err
	}
	if b.JSON {
		return json.NewEncoder(c.stdout).Encode(r)
	}
	fmt.Fprintf(c.stdout, "%s, %s: %.1f M elements, %d cores, the least of %d runs\n",
		r.Device, r.Model, float64(r.Elements)/1e6, r.Cores, r.Runs)
	line := func(what string, t bench.Took) {
		fmt.Fprintf(c.stdout, "%-34s %7.3f s  %7.3f CPU s  %6.2f CPU ns an element\n",
			what, t.Seconds, t.CPUSeconds, 1e9*t.CPUSeconds/float64(r.Elements))
	}
	line("read as float32, kept", r.Read)
	line("read as float32, thrown away", r.Cached)
	line("read and quantized, on the host", r.Quantize)
	line("loaded, on the device", r.Load)
	fmt.Fprintf(c.stdout,
		"reading and quantizing take %.2f times the reading by the clock, %.2f times by CPU time (goal: at most 1.5), %.2f times one that "+
			"keeps nothing\n",
		r.Ratio, r.CPURatio, r.CachedRatio)
	return nil
}
