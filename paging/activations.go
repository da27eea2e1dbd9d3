package paging

import (
	"slices"

	"qlora-wgpu/gpu"
)

// Activations is what happens to the activations that a layer's backward needs. Whatever it is, the backward computes
// with the same values, unless what is kept is rounded.
type Activations int

const (
	// Recompute keeps each layer's input and computes the layer again in its backward.
	Recompute Activations = iota
	// Selective keeps what attention needs as well, and computes again only norms, the MLP's gate and up, and what is
	// cheap.
	Selective
	// Keep holds everything on the device.
	Keep
	// Offload moves each layer's input to the host, and recomputes from it.
	Offload
)

// byMemory is what can be done with activations, from what takes most of the device to what takes least.
var byMemory = []Activations{Keep, Selective, Recompute, Offload}

// Lighter lists what takes less memory of the device and changes no bit, the most of it first. Where what is kept is
// rounded, other tensors would be rounded if others were kept, so only their place may change.
func (d Decisions) Lighter() []Activations {
	less := byMemory[slices.Index(byMemory, d.Activations)+1:]
	if d.Rounded() && d.Activations != Recompute {
		return nil
	}
	return less
}

// Rounded tells whether what is kept for the backward is stored with less than its bits.
func (d Decisions) Rounded() bool { return d.Kept != gpu.F32 }

func (a Activations) String() string {
	return [...]string{"layer inputs kept", "all kept but gate and up", "activations kept", "layer inputs on the host"}[a]
}

// statePage is the page number of a layer's input in the log of accesses.
func statePage(layer int) int { return -1 - layer }

// Keep records the move of a layer's input x to the host. x may be freed.
func (s *Store) Keep(rec *gpu.Recorder, layer int, x *gpu.Tensor) {
	for len(s.states) <= layer {
		s.states = append(s.states, &page{})
	}
	if rec.Dry() {
		return
	}
	p, n := s.states[layer], int(x.Bytes())
	if cap(p.host) < n {
		p.host = make([]byte, n)
	}
	p.host, p.landed = p.host[:n], false
	r := x.Single()
	s.staging.Out(rec, p.host, gpu.Range{Buffer: r.Buffer, Offset: r.Offset, Size: int64(n)})
}

// Fetch records the way back of a layer's input into x. Everything that is on its way to the host has to arrive before.
func (s *Store) Fetch(rec *gpu.Recorder, layer int, x *gpu.Tensor) {
	s.note(statePage(layer))
	if rec.Dry() {
		return
	}
	p := s.states[layer]
	if !p.landed {
		if err := s.staging.Finish(); err != nil {
			rec.Fail("page in", err)
			return
		}
		for _, state := range s.states {
			state.landed = true
		}
	}
	s.advance(statePage(layer))
	s.last = nil
	r := x.Single()
	s.staging.In(rec, gpu.Range{Buffer: r.Buffer, Offset: r.Offset, Size: int64(len(p.host))}, p.host, s.upcoming)
	p.landed = false
}
