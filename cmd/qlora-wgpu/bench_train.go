package main

import (
	"encoding/json"
	"fmt"
	"text/tabwriter"

	"qlora-wgpu/internal/bench"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/paging"
)

type benchTrainCommand struct {
	Settings settings.BenchTrain `embed:""`
	JSON     bool                `name:"json" help:"Print one object of JSON."`
}

// Help says how flops are counted.
func (b *benchTrainCommand) Help() string {
	return "Counted flops of a step of T tokens: " + bench.FlopsFormula +
		". Elementwise work and what a kernel computes twice are left out. " +
		"The share of the GEMM's speed compares the fastest step with the NF4 product of 512 tokens by a weight of 2048 × 2048, measured in " +
		"the same call; on a CPU device by the CPU time of all cores, which other work on the machine disturbs less. " +
		"Steps are of one sequence, all of whose tokens are targets; gradient-checkpointing auto is full here, so that figures compare; with " +
		"layers, all of them are extrapolated."
}

// source checks that one of the two is named.
func (b *benchTrainCommand) source() error {
	o := b.Settings
	fail := func(format string, args ...any) *usererr.Error { return usererr.New("bench", "", format, args...) }
	switch {
	case (o.Model == "") == (o.Arch == ""):
		return fail("one of --model, and --arch with --random-weights, is wanted")
	case o.Model != "" && (o.RandomWeights || o.Layers != 0):
		return fail("--random-weights and --layers are for --arch")
	case o.Model != "":
		return nil
	case !o.RandomWeights:
		return fail("--arch is only for --random-weights").Hinted("to time a real model, give --model")
	}
	_, _, err := archShape(o.Arch)
	return err
}

// Run prints the result on stdout and all else on stderr.
func (b *benchTrainCommand) Run(c *console) error {
	if err := b.source(); err != nil {
		return err
	}
	r, err := bench.Steps(c.context, b.Settings, c.logEvent)
	if err != nil {
		return err
	}
	if b.JSON {
		return json.NewEncoder(c.stdout).Encode(r)
	}
	fmt.Fprintf(c.stdout, "%s, driver %s, qlora-wgpu %s\n", r.Device, r.Driver, r.Version)
	fmt.Fprintf(c.stdout,
		"%s, %d layers: %.1f tokens/s, %.3f s a step of %d tokens (median of %d; %.2f CPU seconds; the first took %.1f s), last loss %.4f\n",
		r.Model, r.Layers, r.TokensPerSecond, r.SecondsPerStep, r.Tokens, r.Steps, r.CPUSeconds, r.FirstStepSeconds, r.Loss)
	fmt.Fprintf(c.stdout, "device memory at most %s, resident memory of the process at most %s\n",
		paging.Size(r.PeakDeviceBytes), paging.Size(r.PeakResidentKiB<<10))
	fmt.Fprintf(c.stdout, "%.3f GFLOP a token, counted as --help says; fastest step %.1f GFLOP/s, by CPU time of %d cores %s; GEMM %.1f, %s\n",
		float64(r.Flops)/float64(r.Tokens)/1e9, r.Least.GFLOPS, r.Cores, byCPU(r.Least), r.GEMM.GFLOPS, byCPU(r.GEMM))
	fmt.Fprintln(c.stdout, ratioLine(r.Share))
	if e := r.Extrapolated; e != nil {
		fmt.Fprintf(c.stdout, "EXTRAPOLATED from %d to all %d layers by counted flops: %.1f tokens/s, %.3f s a step; planned device memory %s\n",
			r.Layers, e.Layers, e.TokensPerSecond, e.SecondsPerStep, paging.Size(e.PlannedBytes))
	}
	fmt.Fprintln(c.stdout)
	var total float64
	for _, k := range r.Kernels {
		total += k.Time.Seconds()
	}
	timed := "each dispatch waited for"
	if r.Timestamps {
		timed = "timed by the device"
	}
	w := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "share\tms\tdispatches\tGFLOP/s\t  kernel (%s; flops as it computes them)\t\n", timed)
	for _, k := range r.Kernels {
		fmt.Fprintf(w, "%.1f %%\t%.1f\t%d\t%.1f\t  %s\t\n",
			100*k.Time.Seconds()/total, 1e3*k.Time.Seconds(), k.Dispatches, float64(k.Cost)/k.Time.Seconds()/1e9, k.Kernel)
	}
	return w.Flush()
}
