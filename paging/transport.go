package paging

import (
	"time"

	"qlora-wgpu/gpu"
)

// Counters are what paging did since they were last taken.
type Counters struct {
	PageIns, PageOuts int
	Bytes             int64
	// the host waited for a page to be filled, or for the device to be done with where a page has to go
	Stall time.Duration
}

// Add adds what was counted since.
func (c *Counters) Add(more Counters) {
	c.PageIns += more.PageIns
	c.PageOuts += more.PageOuts
	c.Bytes += more.Bytes
	c.Stall += more.Stall
}

// Transport moves pages between host and device: *Staging on every device, *Direct where the host can map the slots.
type Transport interface {
	// In brings source to dst before what is recorded next. Upcoming lists what will be wanted after it, in order; it
	// may end early.
	In(rec *gpu.Recorder, dst gpu.Range, source []byte, upcoming func(yield func([]byte) bool))
	// Out brings src, as what is recorded so far leaves it, to dst. The bytes are there after the store's Finish.
	Out(rec *gpu.Recorder, dst []byte, src gpu.Range)
}

// Staging is the transport through buffers that the host maps and the device copies from and to.
type Staging struct {
	*Feeder
	*Drain
}

// NewStaging makes the plan's staging buffers.
func NewStaging(dev *gpu.Device, plan *Plan) (*Staging, error) {
	f, err := NewFeeder(dev, plan.Staging, plan.StagingBytes)
	if err != nil {
		return nil, err
	}
	d, err := NewDrain(dev, plan.StagingOut, plan.StagingBytes)
	if err != nil {
		f.Release()
		return nil, err
	}
	return &Staging{f, d}, nil
}

// Release frees the buffers.
func (s *Staging) Release() {
	if s != nil {
		s.Feeder.Release()
		s.Drain.Release()
	}
}

// Finish waits for all that is leaving.
func (s *Staging) Finish() error {
	if s == nil {
		return nil
	}
	return s.Drain.Finish()
}

func (s *Staging) takeCounters() (c Counters) {
	if s != nil {
		c.Add(s.Feeder.counters)
		c.Add(s.Drain.counters)
		s.Feeder.counters, s.Drain.counters = Counters{}, Counters{}
	}
	return c
}
