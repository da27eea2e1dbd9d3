//go:build !js

package gpu

import (
	"context"
	"encoding/binary"
	"time"

	"github.com/cogentcore/webgpu/wgpu"
)

// timestamps is a clock of WebGPU's timestamp queries.
type timestamps struct {
	dev      *Device
	set      *wgpu.QuerySet
	resolved *Buffer
	used     int
	tick     float64 // nanoseconds
}

const (
	timestampQueries = 4096 // WebGPU allows this many in a set
	timestampBytes   = 8
)

// newClock is nil on a device without timestamps, or with ones that stand still.
func (d *Device) newClock() (clock, error) {
	if !d.Has(wgpu.FeatureNameTimestampQuery.String()) {
		return nil, nil
	}
	c := &timestamps{dev: d}
	var err error
	if c.set, err = d.native.CreateQuerySet(&wgpu.QuerySetDescriptor{Type: wgpu.QueryTypeTimestamp, Count: timestampQueries}); err != nil {
		return nil, err
	}
	const bytes = timestampQueries * timestampBytes
	if c.resolved, err = d.newBuffer("timestamps", bytes, bytes, wgpu.BufferUsageQueryResolve|wgpu.BufferUsageCopySrc); err != nil {
		c.release()
		return nil, err
	}
	if c.tick, err = c.calibrate(); err != nil || c.tick <= 0 {
		c.release()
		return nil, err
	}
	return c, nil
}

// calibrate is the nanoseconds of a tick, measured: the binding does not tell a native device's unit.
func (c *timestamps) calibrate() (float64, error) {
	var at [2]time.Time
	for i := range at {
		rec := c.dev.Record("calibrate timestamps")
		if err := c.mark(rec); err != nil {
			return 0, err
		}
		if err := rec.Submit(); err != nil {
			return 0, err
		}
		if err := c.dev.Wait(context.Background()); err != nil {
			return 0, err
		}
		at[i] = time.Now()
		if i == 0 {
			time.Sleep(100 * time.Millisecond) // against which the tenths of a millisecond of a submission are little
		}
	}
	ticks, err := c.ticks(context.Background())
	if err != nil || ticks[1] <= ticks[0] {
		return 0, err
	}
	return float64(at[1].Sub(at[0])) / float64(ticks[1]-ticks[0]), nil
}

func (c *timestamps) mark(r *Recorder) error {
	if err := r.begin(); err != nil {
		return err
	}
	r.endPass()
	c.used++
	return r.encoder.WriteTimestamp(c.set, uint32(c.used-1))
}

func (c *timestamps) room() int { return timestampQueries - c.used }

func (c *timestamps) ticks(ctx context.Context) ([]uint64, error) {
	if c.used == 0 {
		return nil, nil
	}
	encoder, err := c.dev.native.CreateCommandEncoder(nil)
	if err != nil {
		return nil, err
	}
	defer encoder.Release()
	if err := encoder.ResolveQuerySet(c.set, 0, uint32(c.used), c.resolved.native, 0); err != nil {
		return nil, err
	}
	commands, err := encoder.Finish(nil)
	if err != nil {
		return nil, err
	}
	defer commands.Release()
	if err := c.dev.submit(commands); err != nil {
		return nil, err
	}
	data, err := c.dev.Read(ctx, Range{c.resolved, 0, int64(c.used) * timestampBytes})
	if err != nil {
		return nil, err
	}
	out := make([]uint64, c.used)
	for i := range out {
		out[i] = binary.LittleEndian.Uint64(data[timestampBytes*i:])
	}
	c.used = 0
	return out, nil
}

func (c *timestamps) read(ctx context.Context) ([]time.Duration, error) {
	ticks, err := c.ticks(ctx)
	if err != nil {
		return nil, err
	}
	out := make([]time.Duration, len(ticks))
	for i, t := range ticks {
		out[i] = time.Duration(float64(t-ticks[0]) * c.tick)
	}
	return out, nil
}

func (c *timestamps) release() {
	c.resolved.Release()
	c.set.Release()
}
