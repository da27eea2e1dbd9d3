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

// profile collects times while it is set on a device.
type profile struct {
	byKernel map[string]*KernelTime
}

// StartProfile makes every dispatch a submission of its own that is waited for, so that its time is known on devices without timestamps too. A submission's
// fixed cost is then paid for each.
func (d *Device) StartProfile() { d.profile = &profile{byKernel: map[string]*KernelTime{}} }

// StopProfile ends it and returns the kernels by falling time.
func (d *Device) StopProfile() []KernelTime {
	var out []KernelTime
	if d.profile != nil {
		for _, k := range d.profile.byKernel {
			out = append(out, *k)
		}
	}
	d.profile = nil
	slices.SortFunc(out, func(a, b KernelTime) int { return int(b.Time - a.Time) })
	return out
}

// timed flushes what was recorded before a dispatch, and gives the function that waits for it and notes its time.
func (r *Recorder) timed(kernel *Kernel, cost int64) func() {
	p := r.dev.profile
	if p == nil {
		return func() {}
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
		k := p.byKernel[kernel.label]
		if k == nil {
			k = &KernelTime{Kernel: kernel.label}
			p.byKernel[kernel.label] = k
		}
		k.Dispatches++
		k.Cost += cost
		k.Time += time.Since(start)
	}
}
