package paging

import (
	"context"
	"errors"
	"slices"
	"time"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
)

const (
	// probeFirst is what is taken before speeds are compared; from there on twice as much each time.
	probeFirst = 1 << 30
	// spilled is how many times slower memory is written where the driver keeps a part of it on the host: the bus is
	// slower than any card's memory by more.
	spilled = 3
	// probeHalvings is how often the gap between what is fast and what is not is halved.
	probeHalvings = 4
)

// Probe finds how many bytes the device holds, up to want, by taking, writing and timing more and more of it. Some
// drivers refuse what does not fit, others move it to the host, which only shows in the time: then slow is true, and
// what is returned was still fast. All of it is given back. A refusal is no error; errors are those of writing and
// waiting, and ctx's.
func Probe(ctx context.Context, dev *gpu.Device, want int64) (held int64, slow bool, err error) {
	m := &probed{ctx: ctx, dev: dev}
	held, slow, err = probe(m, want)
	if _, after := m.resize(0); err == nil {
		err = after
	}
	return held, slow, err
}

// holder is what is probed.
type holder interface {
	// resize takes or gives back memory until it holds about so many bytes, and tells what it holds: less where the
	// device refuses more.
	resize(bytes int64) (held int64, err error)
	// write writes all of it, and tells how long that took.
	write() (time.Duration, error)
}

func probe(m holder, want int64) (held int64, slow bool, err error) {
	var best float64
	for target := min(want, probeFirst); ; target = min(want, 2*target) {
		now, speed, err := timed(m, target)
		if err != nil {
			return 0, false, err
		}
		if speed < best/spilled {
			held, err = narrow(m, held, now, best/spilled)
			return held, true, err
		}
		held, best = now, max(best, speed)
		if held < target || held >= want {
			return held, false, nil
		}
	}
}

// narrow finds what is still fast between what was and what was not.
func narrow(m holder, fast, slow int64, enough float64) (int64, error) {
	for range probeHalvings {
		held, speed, err := timed(m, fast+(slow-fast)/2)
		if err != nil {
			return 0, err
		}
		if speed >= enough {
			fast = held
		} else {
			slow = held
		}
	}
	return fast, nil
}

// timed is what the device holds of so many bytes, and how many it writes a second then.
func timed(m holder, bytes int64) (held int64, speed float64, err error) {
	if held, err = m.resize(bytes); err != nil {
		return 0, 0, err
	}
	var took time.Duration
	for range 2 { // the first makes the memory exist
		if took, err = m.write(); err != nil {
			return 0, 0, err
		}
	}
	return held, float64(held) / max(took.Seconds(), 1e-6), nil
}

// probed is memory of a device, in pieces that can be bound.
type probed struct {
	ctx    context.Context
	dev    *gpu.Device
	pieces []*gpu.Tensor
	held   int64
}

const probeRow = 4096 // bytes

func (p *probed) resize(bytes int64) (int64, error) {
	for n := len(p.pieces) - 1; n >= 0 && p.held > bytes; n-- {
		p.held -= p.pieces[n].Bytes()
		p.pieces[n].Release()
		p.pieces = p.pieces[:n]
	}
	for size := int64(gpu.ShardBytes); p.held < bytes; {
		size = max(min(size, bytes-p.held)/probeRow, 1) * probeRow
		t, err := p.dev.NewTensor("probe", gpu.F32, int(size/probeRow), probeRow/4)
		var full *gpu.OutOfMemory
		switch {
		case errors.As(err, &full) && size > probeFirst>>8:
			size /= 2
		case errors.As(err, &full):
			return p.held, nil
		case err != nil:
			return p.held, err
		default:
			p.pieces, p.held = append(p.pieces, t), p.held+size
		}
	}
	return p.held, p.dev.Wait(p.ctx) // what was given back is free only then
}

// write does not leave more than a few pieces to one submission: systems end those that take seconds.
func (p *probed) write() (time.Duration, error) {
	start := time.Now()
	for pieces := range slices.Chunk(p.pieces, 8) {
		rec := p.dev.Record("probe")
		for _, t := range pieces {
			kernels.Fill(rec, t, 1)
		}
		if err := rec.Submit(); err != nil {
			return 0, err
		}
		if err := p.dev.Wait(p.ctx); err != nil {
			return 0, err
		}
	}
	return time.Since(start), nil
}
