package paging

import (
	"fmt"

	"qlora-wgpu/gpu"
)

// Drain brings device bytes to the host through a few staging buffers.
type Drain struct {
	counters Counters
	free     []*gpu.Transit
	away     []drained // the oldest first
	piece    int64
}

type drained struct {
	transit *gpu.Transit
	dst     []byte
}

// NewDrain makes count staging buffers of so many bytes.
func NewDrain(dev *gpu.Device, count int, bytes int64) (*Drain, error) {
	d := &Drain{piece: bytes}
	for i := range count {
		t, err := dev.NewTransit(fmt.Sprintf("staging out %d", i), bytes, true)
		if err != nil {
			d.Release()
			return nil, err
		}
		d.free = append(d.free, t)
	}
	return d, nil
}

// Release frees the staging buffers; what has not arrived is lost.
func (d *Drain) Release() {
	for _, t := range d.free {
		t.Release()
	}
	for _, a := range d.away {
		a.transit.Release()
	}
	d.free, d.away = nil, nil
}

// Out records the copy of src to dst. The bytes are there after Finish.
func (d *Drain) Out(rec *gpu.Recorder, dst []byte, src gpu.Range) {
	d.counters.PageOuts++
	if rec.Dry() || rec.Err() != nil {
		return
	}
	for at := int64(0); at < int64(len(dst)); at += d.piece {
		if len(d.free) == 0 {
			if err := d.arrive(); err != nil {
				rec.Fail("page out", err)
				return
			}
		}
		t := d.free[len(d.free)-1]
		d.free = d.free[:len(d.free)-1]
		part := dst[at:min(at+d.piece, int64(len(dst)))]
		rec.CopyOut(t, gpu.Range{Buffer: src.Buffer, Offset: src.Offset + at, Size: int64(len(part))})
		d.away = append(d.away, drained{t, part})
		d.counters.Bytes += int64(len(part))
	}
}

func (d *Drain) arrive() error {
	a := d.away[0]
	d.away = d.away[1:]
	d.free = append(d.free, a.transit)
	waited, err := a.transit.Read(a.dst)
	d.counters.Stall += waited
	return err
}

// Finish waits for all that is under way.
func (d *Drain) Finish() error {
	for len(d.away) > 0 {
		if err := d.arrive(); err != nil {
			return err
		}
	}
	return nil
}
