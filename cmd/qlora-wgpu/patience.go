package main

import (
	"context"
	"time"
)

// patience is how long a training child may tell nothing before it is taken to hang.
type patience struct {
	start time.Duration // before all is loaded: reading data, quantizing, compiling and measuring kernels
	first time.Duration // of the first step, of which nothing is known: hours on a processor that plays a GPU
	least time.Duration // after it
	steps float64       // and so many times the longest step
	tick  time.Duration // between two looks
}

var usualPatience = patience{start: time.Hour, first: 12 * time.Hour, least: 5 * time.Minute, steps: 20, tick: time.Second}

func (p patience) limit(at progress) time.Duration {
	switch {
	case at.Longest > 0 && at.Ready:
		return max(p.least, time.Duration(p.steps*at.Longest*float64(time.Second)))
	case at.Ready:
		return p.first
	default:
		return p.start
	}
}

// watch calls hangs, once, when no record came for as long as the limit. It counts its own looks and not the clock, so
// that a time in which this process did not run either (a laptop that sleeps, Ctrl-Z) is none in which the child did
// nothing. longest is of steps before this child, in seconds.
func (p patience) watch(ctx context.Context, f *follower, longest float64, hangs func(limit time.Duration)) {
	ticker := time.NewTicker(p.tick)
	defer ticker.Stop()
	seen, idle := 0, time.Duration(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		at, records := f.progress()
		if idle += p.tick; records != seen {
			seen, idle = records, 0
		}
		at.Longest = max(at.Longest, longest)
		if limit := p.limit(at); idle >= limit {
			hangs(limit)
			return
		}
	}
}
