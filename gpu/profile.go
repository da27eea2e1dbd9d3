package gpu

import (
	"context"
	"slices"
	"time"
)

// KernelTime is what one kernel took in a profile.
type KernelTime struct {
	Kernel     string        `json:"kernel"` // its label, constants included
	Dispatches int           `json:"dispatches"`
	Cost       int64         `json:"flops"` // as estimated by its wrapper
	Time       time.Duration `json:"ns"`
}

// Profile is the time of every kernel that ran, by falling time.
type Profile struct {
	Kernels []KernelTime
	// Timestamps says that the device noted the times. Else the host did, and each dispatch was a submission that it
	// waited for, whose fixed cost is then in its time.
	Timestamps bool
}

// profile collects times while it is set on a device.
type profile struct {
	byKernel map[string]*KernelTime
	clock    clock // nil: the host waits for every dispatch
	marked   []KernelTime
}

// clock has the device note when it gets to a place in a recording.
type clock interface {
	// mark notes the time once what was recorded before is done.
	mark(*Recorder) error
	// room is how many marks there still are until they are read.
	room() int
	// read waits for everything submitted and returns the marks since the last read, and forgets them.
	read(context.Context) ([]time.Duration, error)
	release()
}

// StartProfile times every dispatch from now on, by the device's timestamps or, where it has none, by waiting for each.
// The error is the driver's.
func (d *Device) StartProfile() error {
	p := &profile{byKernel: map[string]*KernelTime{}}
	var err error
	if p.clock, err = d.newClock(); err != nil {
		return err
	}
	d.profile = p
	return nil
}

// StopProfile ends it and gives the times; nothing may be recording. The error is ctx's or the driver's.
func (d *Device) StopProfile(ctx context.Context) (Profile, error) {
	p := d.profile
	d.profile = nil
	var err error
	if p.clock != nil {
		err = p.collect(ctx)
		p.clock.release()
	}
	out := Profile{Timestamps: p.clock != nil}
	for _, k := range p.byKernel {
		out.Kernels = append(out.Kernels, *k)
	}
	slices.SortFunc(out.Kernels, func(a, b KernelTime) int { return int(b.Time - a.Time) })
	return out, err
}

// timed is called before a dispatch and gives the function that is called after it.
func (r *Recorder) timed(kernel *Kernel, cost int64) func() {
	p := r.dev.profile
	switch {
	case p == nil:
		return func() {}
	case p.clock != nil:
		return r.marked(p, kernel, cost)
	}
	wait := func() {
		r.flush()
		if r.err == nil {
			r.err = r.dev.Wait(context.Background())
		}
	}
	wait()
	start := time.Now()
	return func() {
		wait()
		p.add(KernelTime{kernel.label, 1, cost, time.Since(start)})
	}
}

// marked has the device note the time before and after a dispatch.
func (r *Recorder) marked(p *profile, kernel *Kernel, cost int64) func() {
	if p.clock.room() < 2 {
		r.flush()
		if err := p.collect(context.Background()); err != nil {
			r.fail("timestamps", err)
		}
	}
	mark := func() {
		if r.err == nil {
			if err := p.clock.mark(r); err != nil {
				r.fail("timestamps", err)
			}
		}
	}
	mark()
	return func() {
		mark()
		p.marked = append(p.marked, KernelTime{Kernel: kernel.label, Dispatches: 1, Cost: cost})
	}
}

// collect adds up the dispatches that were marked, each of which has two times.
func (p *profile) collect(ctx context.Context) error {
	times, err := p.clock.read(ctx)
	if err != nil {
		return err
	}
	for i, k := range p.marked[:min(len(p.marked), len(times)/2)] {
		k.Time = times[2*i+1] - times[2*i]
		p.add(k)
	}
	p.marked = nil
	return nil
}

func (p *profile) add(k KernelTime) {
	sum := p.byKernel[k.Kernel]
	if sum == nil {
		sum = &KernelTime{Kernel: k.Kernel}
		p.byKernel[k.Kernel] = sum
	}
	sum.Dispatches += k.Dispatches
	sum.Cost += k.Cost
	sum.Time += k.Time
}
