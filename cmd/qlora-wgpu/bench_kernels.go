package main

import (
	"encoding/json"
	"fmt"
	"time"

	"qlora-wgpu/trainer"
)

type benchKernelsCommand struct {
	Filter  string        `name:"filter" help:"Only cells that match this regular expression over 'model operation Ttokens Nrows Kcolumns'." placeholder:"REGEXP"`
	Variant string        `name:"variant" help:"Run this variant, not the one that the autotune chose." placeholder:"NAME"`
	Seconds time.Duration `name:"seconds" default:"1s" help:"Time for each cell."`
	Device  string        `name:"device" help:"Adapter by index or by part of its name (see the devices command)." placeholder:"NAME"`
	JSON    bool          `name:"json" help:"Print one object of JSON."`
}

// Run prints a line a cell on stdout as it is measured.
func (b *benchKernelsCommand) Run(c *console) error {
	lines := 0
	r, err := trainer.BenchKernels(c.context, trainer.BenchKernelsOptions{Device: b.Device, Filter: b.Filter, Variant: b.Variant, Limit: b.Seconds},
		func(all trainer.KernelBench, cell trainer.KernelCell) {
			if b.JSON {
				return
			}
			if lines++; lines == 1 {
				fmt.Fprintf(c.stdout, "%s, driver %s\nceilings: %.1f GFLOP/s multiply-add (%d vec4 accumulators), copy %.1f GB/s by float32, %.1f GB/s by vec4\n\n",
					all.Device, all.Driver, all.Ceilings.GFLOPS, all.Ceilings.FMAVectors, all.Ceilings.CopyF32, all.Ceilings.CopyVec4)
				fmt.Fprintf(c.stdout, "%-14s %-20s %6s %7s %6s %10s %9s %7s %6s\n", "model", "operation", "tokens", "n", "k", "ms", "GFLOP/s", "of FMA", "GB/s")
			}
			if cell.Skipped != "" {
				fmt.Fprintf(c.stdout, "%-14s %-20s %6d %7d %6d skipped: %s\n", cell.Model, cell.Op, cell.T, cell.N, cell.K, cell.Skipped)
				return
			}
			fmt.Fprintf(c.stdout, "%-14s %-20s %6d %7d %6d %10.2f %9.1f %5.0f %% %6.2f\n", cell.Model, cell.Op, cell.T, cell.N, cell.K, 1e3*cell.Seconds, cell.GFLOPS, 100*cell.Share, cell.GBs)
		})
	if err != nil {
		return err
	}
	if b.JSON {
		return json.NewEncoder(c.stdout).Encode(r)
	}
	return nil
}
