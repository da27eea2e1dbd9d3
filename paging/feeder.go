package paging

import (
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"qlora-wgpu/gpu"
)

// Feeder brings host bytes to the device through a few staging buffers. Goroutines fill those that are free with what
// is needed next, while the device computes.
type Feeder struct {
	counters Counters
	free     []*feed
	ahead    []*feed // filled or being filled, in the order in which they will be wanted
	away     []*feed // with the device, the oldest first
	piece    int64
}

type feed struct {
	transit *gpu.Transit
	source  []byte
	filling errgroup.Group
}

// NewFeeder makes count staging buffers of so many bytes.
func NewFeeder(dev *gpu.Device, count int, bytes int64) (*Feeder, error) {
	f := &Feeder{piece: bytes}
	for i := range count {
		t, err := dev.NewTransit(fmt.Sprintf("staging %d", i), bytes, false)
		if err != nil {
			f.Release()
			return nil, err
		}
		f.free = append(f.free, &feed{transit: t})
	}
	return f, nil
}

// Release frees the staging buffers.
func (f *Feeder) Release() {
	for _, list := range [][]*feed{f.free, f.ahead, f.away} {
		for _, b := range list {
			_ = b.filling.Wait() // fills do not fail
			b.transit.Release()
		}
	}
	f.free, f.ahead, f.away = nil, nil, nil
}

// In records the copy of source to dst. Upcoming lists what will be wanted after it, in order; it may end early.
func (f *Feeder) In(rec *gpu.Recorder, dst gpu.Range, source []byte, upcoming func(yield func([]byte) bool)) {
	f.counters.PageIns++
	if rec.Dry() || rec.Err() != nil {
		return
	}
	for at := int64(0); at < int64(len(source)); at += f.piece {
		part := source[at:min(at+f.piece, int64(len(source)))]
		b, err := f.filled(part)
		if err != nil {
			rec.Fail("page in", err)
			return
		}
		f.counters.Bytes += int64(len(part))
		rec.CopyIn(gpu.Range{Buffer: dst.Buffer, Offset: dst.Offset + at, Size: int64(len(part))}, b.transit)
		f.away = append(f.away, b)
		rest := source[at+int64(len(part)):]
		err = f.fillAhead(func(yield func([]byte) bool) {
			if len(rest) == 0 || yield(rest) {
				upcoming(yield)
			}
		})
		if err != nil {
			rec.Fail("page in", err)
			return
		}
	}
}

// filled is the staging buffer that holds part: the next one that was filled ahead, or, where another was expected, a
// fresh one.
func (f *Feeder) filled(part []byte) (*feed, error) {
	start := time.Now()
	defer func() { f.counters.Stall += time.Since(start) }()
	if len(f.ahead) > 0 && same(f.ahead[0].source, part) {
		b := f.ahead[0]
		f.ahead = f.ahead[1:]
		return b, b.filling.Wait()
	}
	for _, b := range f.ahead {
		if err := b.filling.Wait(); err != nil {
			return nil, err
		}
		f.free = append(f.free, b)
	}
	f.ahead = nil
	b, err := f.available()
	if err != nil {
		return nil, err
	}
	b.transit.Write(0, part)
	return b, nil
}

// available is a free staging buffer, if need be the one that has been with the device for longest.
func (f *Feeder) available() (*feed, error) {
	if n := len(f.free); n > 0 {
		b := f.free[n-1]
		f.free = f.free[:n-1]
		return b, nil
	}
	b := f.away[0]
	f.away = f.away[1:]
	_, err := b.transit.Await()
	return b, err
}

// fillAhead starts to fill every free staging buffer with what comes next, and waits for one if none is being filled:
// what the device works on then was recorded before.
func (f *Feeder) fillAhead(upcoming func(yield func([]byte) bool)) (err error) {
	skip := len(f.ahead)
	upcoming(func(source []byte) bool {
		for at := int64(0); at < int64(len(source)); at += f.piece {
			if skip > 0 {
				skip--
				continue
			}
			if len(f.free) == 0 && len(f.ahead) > 0 {
				return false
			}
			start := time.Now()
			var b *feed
			if b, err = f.available(); err != nil {
				return false
			}
			f.counters.Stall += time.Since(start)
			b.source = source[at:min(at+f.piece, int64(len(source)))]
			b.filling.Go(func() error {
				b.transit.Write(0, b.source)
				return nil
			})
			f.ahead = append(f.ahead, b)
		}
		return true
	})
	return err
}

func same(a, b []byte) bool { return len(a) == len(b) && len(a) > 0 && &a[0] == &b[0] }
