package kernels

import (
	"context"
	"fmt"
	"slices"
	"time"

	"qlora-wgpu/gpu"
)

// Tuning says how to go about measuring.
type Tuning struct {
	Deadline time.Time
	Rejected []string // candidates that are left out
	Report   func(line string)
	CPU      func() float64 // what this process used of the CPU so far, in seconds; nil: nobody knows
	// Trying is told each candidate, "operation class variant", before it runs, and "" when all is well again: one that
	// takes the process with it can be found afterwards. nil: nobody wants to know.
	Trying func(candidate string)
	// Measured is told how many of all shapes' candidates are measured, after each; at the end those that there is no time
	// for count too. nil: nobody wants to know.
	Measured func(done, total int)
}

// Tune measures the variants of every shape class that was asked for and has no choice yet (a dry recording of a step
// asks for all), and records the fastest. It stops at the deadline; a class not reached takes what the nearest measured
// one of its operation took, without one it keeps its fallback. Choices change speed and the order of sums, never what
// is computed. A software device in a browser keeps all fallbacks: each candidate would take it seconds to compile.
// After an error that is not the context's, the device is not to be used any more.
func Tune(ctx context.Context, dev *gpu.Device, o Tuning) error {
	if o.Trying == nil {
		o.Trying = func(string) {}
	}
	if kindOf(dev) == softwareBrowser {
		return nil
	}
	shapes := wantedShapes(dev.Variants.Wanted())
	done, all := 0, 0
	for i := range shapes {
		all += len(o.candidates(dev, &shapes[i]))
	}
	measured := func(n int) {
		if done += n; n > 0 && o.Measured != nil {
			o.Measured(done, all)
		}
	}
	for i := range shapes {
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Now().After(o.Deadline) {
			o.Report(fmt.Sprintf("autotune: out of time, %d shapes take what shapes like them took, or the defaults", len(shapes)-i))
			for _, s := range shapes[i:] {
				if like := s.alike(shapes[:i]); like != "" && !slices.Contains(o.Rejected, s.key()+" "+like) {
					dev.Variants.Set(s.Op, s.class, like)
				}
			}
			measured(all - done)
			return nil
		}
		if err := o.tune(ctx, dev, &shapes[i], func() { measured(1) }); err != nil {
			return err
		}
	}
	measured(all - done) // of shapes that do not fit the device
	return nil
}

// tune finds the best variant of a shape, and tells measured of each.
func (o Tuning) tune(ctx context.Context, dev *gpu.Device, s *tunedShape, measured func()) error {
	try := func(candidate string, run func() error) error {
		o.Trying(candidate)
		err := run()
		if err == nil || ctx.Err() != nil {
			o.Trying("")
		}
		if err != nil {
			return fmt.Errorf("%s: %w", candidate, err)
		}
		return nil
	}
	prefix := s.key() + " "
	timed := func(name string, bench func(rec *gpu.Recorder), hopeless float64) (took Took, err error) {
		err = try(prefix+name, func() (err error) {
			dev.Variants.Force(s.Op, name)
			defer dev.Variants.Force(s.Op, "")
			took, err = o.measure(ctx, dev, bench, hopeless)
			return err
		})
		return took, err
	}
	of, part := find(s.Op), s.sample(dev)
	bench, release, err := of.record(dev, part)
	defer func() { release() }()
	if err != nil || bench == nil {
		return err
	}
	for probe := of.fallback(dev, part); kindOf(dev) == graphics && part.N < s.N && !slices.Contains(o.Rejected, prefix+probe); {
		took, err := timed(probe, bench, 0)
		if err != nil {
			return err
		}
		if enough(took, s.T*part.N) {
			break
		}
		more := part
		more.N = min(s.N, 4*part.N)
		larger, releaseLarger, err := of.record(dev, more)
		if err != nil || larger == nil {
			releaseLarger()
			break
		}
		release()
		part, bench, release = more, larger, releaseLarger
	}
	names := o.candidates(dev, s)
	// where that kills, one after the other tells which
	if all := prefix + "compiled together"; !slices.Contains(o.Rejected, all) {
		if err := try(all, func() error { return compile(ctx, dev, s.Op, names, bench) }); err != nil {
			return err
		}
	}
	if len(names) == 0 {
		return nil // all are rejected
	}
	took, best := make([]Took, len(names)), 0
	for round := range 2 { // in turns, since other work on the machine disturbs some runs
		for i, name := range names {
			if round > 0 && (len(names) == 1 || took[i].Seconds > 1.5*took[best].Seconds) {
				continue
			}
			now, err := timed(name, bench, 3*took[best].Seconds)
			if err != nil {
				return err
			}
			if round > 0 {
				now = now.least(took[i])
			}
			took[i] = now
			if now.less(dev, took[best]) {
				best = i
			}
			if round == 0 {
				measured()
			}
		}
	}
	s.best = names[best]
	dev.Variants.Set(s.Op, s.class, s.best)
	o.Report(fmt.Sprintf("autotune: %s: %s, %.1f GFLOP/s", s.key(), s.best, float64(part.Flops())/took[best].Seconds/1e9))
	return nil
}

// candidates are the variants to measure for a shape.
func (o Tuning) candidates(dev *gpu.Device, s *tunedShape) []string {
	return slices.DeleteFunc(find(s.Op).candidates(dev, s.Cell), func(name string) bool {
		return slices.Contains(o.Rejected, s.key()+" "+name)
	})
}

// compile makes the candidates' kernels, several at a time.
func compile(ctx context.Context, dev *gpu.Device, op string, variants []string, record func(rec *gpu.Recorder)) error {
	var specs []gpu.KernelSpec
	for _, name := range variants {
		dev.Variants.Force(op, name)
		rec := dev.DryRecord("autotune")
		record(rec)
		specs = append(specs, rec.Kernels()...)
	}
	dev.Variants.Force(op, "")
	return dev.Compile(ctx, specs, nil)
}

// hangs is how long a fraction of a second's work may take before the device is taken for stuck. WebGPU would wait for
// ever.
var hangs = 50 * time.Second

// waitOrAbandon waits for a measurement, and abandons the device when that takes too long. The waiting then goes on
// beside what follows.
func waitOrAbandon(ctx context.Context, dev *gpu.Device) error {
	done := make(chan error, 1)
	go func() { done <- dev.Wait(ctx) }()
	select {
	case err := <-done:
		return err
	case <-time.After(hangs):
		err := fmt.Errorf("no answer from the device within %v", hangs)
		dev.Abandon(err)
		return err
	}
}

// measure runs once to warm up, whatever that takes, since some drivers compile then, and then twice, or once where
// that takes longer than hopeless (seconds; 0: no limit). It returns the least of what came after the warm-up.
func (o Tuning) measure(ctx context.Context, dev *gpu.Device, record func(rec *gpu.Recorder), hopeless float64) (least Took, err error) {
	cpu := func() float64 { return 0 }
	if o.CPU != nil {
		cpu = o.CPU
	}
	for run := range 3 {
		if run == 2 && hopeless > 0 && least.Seconds > hopeless {
			break
		}
		start, used := time.Now(), cpu()
		rec := dev.Record("autotune")
		record(rec)
		if err := rec.Submit(); err != nil {
			return least, err
		}
		if err := waitOrAbandon(ctx, dev); err != nil {
			return least, err
		}
		took := Took{time.Since(start).Seconds(), cpu() - used}
		switch {
		case run == 1:
			least = took
		case run == 2:
			least = least.least(took)
		}
	}
	return least, nil
}
