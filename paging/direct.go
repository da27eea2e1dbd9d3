package paging

import (
	"slices"
	"time"

	"qlora-wgpu/gpu"
)

// Direct is the transport for devices that use the host's memory: it maps the buffer in which a page lies, at its
// beginning, and copies there. A page goes in when its predecessor in the same buffer has been used, so with two
// slots the host copies while the device computes on the other.
type Direct struct {
	counters Counters
	leaving  []leaving
}

type leaving struct {
	from *gpu.Buffer
	dst  []byte
}

// In implements Transport. Nothing is done ahead: everything recorded so far is with the device meanwhile.
func (d *Direct) In(rec *gpu.Recorder, dst gpu.Range, source []byte, _ func(yield func([]byte) bool)) {
	d.counters.PageIns++
	if rec.Dry() || rec.Err() != nil {
		return
	}
	if at := slices.IndexFunc(d.leaving, func(l leaving) bool { return l.from == dst.Buffer }); at >= 0 {
		d.arrived(d.leaving[at], rec.Collect(dst.Buffer, d.leaving[at].dst))
		d.leaving = slices.Delete(d.leaving, at, at+1)
	}
	d.counters.Stall += rec.Fill(dst.Buffer, source)
	d.counters.Bytes += int64(len(source))
}

// Out implements Transport.
func (d *Direct) Out(rec *gpu.Recorder, dst []byte, src gpu.Range) {
	d.counters.PageOuts++
	if !rec.Dry() && rec.Err() == nil {
		d.leaving = append(d.leaving, leaving{src.Buffer, dst})
	}
}

// Finish waits for all that is leaving; the recording must have been submitted.
func (d *Direct) Finish() error {
	if d == nil {
		return nil
	}
	for _, l := range d.leaving {
		waited, err := l.from.Collect(l.dst)
		if err != nil {
			return err
		}
		d.arrived(l, waited)
	}
	d.leaving = nil
	return nil
}

func (d *Direct) arrived(l leaving, waited time.Duration) {
	d.counters.Stall += waited
	d.counters.Bytes += int64(len(l.dst))
}

func (d *Direct) takeCounters() (c Counters) {
	if d != nil {
		c, d.counters = d.counters, Counters{}
	}
	return c
}
