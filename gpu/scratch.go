package gpu

import "fmt"

// Scratch numbers the buffers that kernels fill as storage and later ones bind as Uniform, from 0 on: as many as are
// used.
type Scratch int

// atLeast is s with an element i.
func atLeast[E any](s []E, i Scratch) []E {
	for len(s) <= int(i) {
		s = append(s, *new(E))
	}
	return s
}

// UniformScratch is a scratch buffer of at least size bytes; what is in it holds until the next call for the same one.
// A dry recording at the largest size makes it before the first step.
func (r *Recorder) UniformScratch(s Scratch, size int64) *Buffer {
	d := r.dev
	d.uniform, r.scratch = atLeast(d.uniform, s), atLeast(r.scratch, s)
	r.scratch[s] = made{}
	if d.uniform[s] != nil && d.uniform[s].Size >= size {
		return d.uniform[s]
	}
	r.flush() // what is recorded may still use the smaller one
	d.uniform[s].Release()
	label := fmt.Sprintf("uniform scratch %d", s)
	b, err := d.NewUniformBuffer(label, size)
	if err != nil {
		r.fail(label, err)
		// recording goes on, and Submit returns the error
		b = &Buffer{Label: label, Size: size, capacity: max(size, UniformBytes), dev: d}
	}
	d.uniform[s] = b
	return b
}

// made is what a scratch was filled from.
type made struct {
	source     Range
	rows, cols int
}

// FilledFrom notes that a scratch now holds what was made of a one-shard tensor.
func (r *Recorder) FilledFrom(s Scratch, x *Tensor) {
	r.scratch = atLeast(r.scratch, s)
	r.scratch[s] = made{x.Single(), x.Rows, x.Cols}
}

// HoldsFrom is the scratch if it still holds what was made of x: nothing recorded since has written to x. Otherwise it
// is nil.
func (r *Recorder) HoldsFrom(s Scratch, x *Tensor) *Buffer {
	if int(s) >= len(r.scratch) || r.scratch[s] != (made{x.Single(), x.Rows, x.Cols}) {
		return nil
	}
	return r.dev.uniform[s]
}

// written forgets what was made of the memory that is written now.
func (r *Recorder) written(w Range) {
	for i, m := range r.scratch {
		if m.source.Buffer == w.Buffer && m.source.overlaps(w) {
			r.scratch[i] = made{}
		}
	}
}
