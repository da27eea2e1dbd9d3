package main

import (
	"encoding/json"
	"fmt"

	"qlora-wgpu/trainer"
)

type benchLoadCommand struct {
	Model     string `name:"model" required:"" help:"Base model: a GGUF file or a Hugging Face folder." placeholder:"PATH"`
	BlockSize int    `name:"block-size" default:"64" help:"Weights per NF4 block."`
	Runs      int    `name:"runs" default:"5" help:"How often it is read and loaded; the least times count."`
	Device    string `name:"device" help:"Adapter by index or by part of its name (see the devices command)." placeholder:"NAME"`
	JSON      bool   `name:"json" help:"Print one object of JSON."`
}

// Run prints the result on stdout.
func (b *benchLoadCommand) Run(c *console) error {
	r, err := trainer.BenchLoad(c.context, trainer.BenchLoadOptions{Model: b.Model, Device: b.Device, BlockSize: b.BlockSize, Runs: b.Runs})
	if err != nil {
		return err
	}
	if b.JSON {
		return json.NewEncoder(c.stdout).Encode(r)
	}
	fmt.Fprintf(c.stdout, "%s, %s: %.1f M elements, %d cores, the least of %d runs\n", r.Device, r.Model, float64(r.Elements)/1e6, r.Cores, r.Runs)
	line := func(what string, t trainer.Took) {
		fmt.Fprintf(c.stdout, "%-34s %7.3f s  %7.3f CPU s  %6.2f CPU ns an element\n", what, t.Seconds, t.CPUSeconds, 1e9*t.CPUSeconds/float64(r.Elements))
	}
	line("read as float32, kept", r.Read)
	line("read as float32, thrown away", r.Cached)
	line("read and quantized, on the host", r.Quantize)
	line("loaded, on the device", r.Load)
	fmt.Fprintf(c.stdout, "reading and quantizing take %.2f times the reading by the clock, %.2f times by CPU time (goal: at most 1.5), %.2f times one that keeps nothing\n",
		r.Ratio, r.CPURatio, r.CachedRatio)
	return nil
}
