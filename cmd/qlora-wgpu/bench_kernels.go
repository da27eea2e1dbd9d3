package main

import (
	"encoding/json"
	"fmt"
	"io"

	"qlora-wgpu/internal/bench"
	"qlora-wgpu/internal/settings"
)

type benchKernelsCommand struct {
	Settings settings.BenchKernels `embed:""`
	JSON     bool                  `name:"json" help:"Print one object of JSON."`
}

// Help says how flops are counted.
func (b *benchKernelsCommand) Help() string {
	return `A product of T tokens counts 2 T N K flops. Attention counts, for each of its heads H and each of the T (T + 1) / 2 pairs of a ` +
		`query and a key that it sees (fewer with a window, whose ratios compare speeds: 100 % costs its share), 4 D flops forward and ` +
		`10 D backward, whatever is computed twice. On a CPU device a second figure divides by the CPU time of all cores, which other ` +
		`work on the machine disturbs less; shares and ratios then are by that one. The ratios at the end need the cells of '` +
		ratioCells + `'.`
}

// ratioCells is the filter of the cells that ratios compare.
const ratioCells = `1B.*(f32|nf4)_.* T(128|512) |odd|135M attention|attention.* T(4096|32768) `

// Run prints a line a cell on stdout as it is measured.
func (b *benchKernelsCommand) Run(c *console) error {
	lines := 0
	r, err := bench.Kernels(c.context, b.Settings, c.logEvent,
		func(all bench.KernelBench, cell bench.KernelCell) {
			if b.JSON {
				return
			}
			if lines++; lines == 1 {
				printCeilings(c.stdout, all)
				fmt.Fprintf(c.stdout, "%-20s %-22s %-26s %10s %9s %9s %7s %6s  %s\n",
					"model", "operation", "shape", "ms", "GFLOP/s", "by CPU", "of FMA", "GB/s", "variant")
			}
			fmt.Fprintf(c.stdout, "%-20s %-22s %-26s ", cell.Model, cell.Op, cell.Shape)
			if cell.Skipped != "" {
				fmt.Fprintf(c.stdout, "skipped: %s\n", cell.Skipped)
				return
			}
			fmt.Fprintf(c.stdout, "%10.2f %9.1f %9s %5.0f %% %6.2f  %s\n",
				1e3*cell.Seconds, cell.GFLOPS, byCPU(cell.Speed), 100*cell.Share, cell.GBs, cell.Variant)
		})
	if err != nil {
		return err
	}
	if b.JSON {
		return json.NewEncoder(c.stdout).Encode(r)
	}
	if lines == 0 {
		printCeilings(c.stdout, *r)
	}
	fmt.Fprintln(c.stdout, "\nratios")
	for _, ratio := range r.Ratios {
		fmt.Fprintln(c.stdout, ratioLine(ratio))
	}
	return nil
}

func byCPU(s bench.Speed) string {
	if s.CPUGFLOPS == 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f", s.CPUGFLOPS)
}

func printCeilings(w io.Writer, r bench.KernelBench) {
	fmt.Fprintf(w,
		"%s, driver %s, qlora-wgpu %s\nceilings: %.1f GFLOP/s multiply-add (%d vec4 accumulators; by CPU time of %d cores: %s), copy %.1f GB/s "+
			"by float32, %.1f GB/s by vec4 (by CPU time: %.1f, %.1f)\n\n",
		r.Device, r.Driver, r.Version, r.Ceilings.GFLOPS, r.Ceilings.FMAVectors,
		r.Cores, byCPU(r.Ceilings.Speed), r.Ceilings.CopyF32, r.Ceilings.CopyVec4, r.Ceilings.CopyF32CPU, r.Ceilings.CopyVec4CPU)
}

func ratioLine(r bench.Ratio) string {
	if r.Missing != "" {
		return fmt.Sprintf("      -  %s (%s)", r.Name, r.Missing)
	}
	goal := ""
	switch {
	case r.Goal > 0 && r.Value >= r.Goal:
		goal = fmt.Sprintf(" (goal %.0f %%: reached)", 100*r.Goal)
	case r.Goal > 0:
		goal = fmt.Sprintf(" (goal %.0f %%: missed)", 100*r.Goal)
	}
	return fmt.Sprintf("%5.0f %%  %s%s", 100*r.Value, r.Name, goal)
}
