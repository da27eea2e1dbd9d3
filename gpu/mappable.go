package gpu

import (
	"fmt"
	"time"

	"github.com/cogentcore/webgpu/wgpu"
)

// NewMappableBuffer is a buffer as NewUniformBuffer makes it that the host can map too, so that pages reach it without
// a staging buffer and without a copy by the device. Only where Device.Mappable says so, else it panics. What does not
// fit is an *OutOfMemory.
func (d *Device) NewMappableBuffer(label string, size int64) (*Buffer, error) {
	if !d.Mappable {
		panic("gpu: " + label + ": this device's storage buffers cannot be mapped")
	}
	b, err := d.newBuffer(label, size, max(size, UniformBytes), storageUsage|wgpu.BufferUsageMapRead|wgpu.BufferUsageMapWrite)
	if err == nil {
		b.mappable = true
	}
	return b, err
}

// Fill copies data to the beginning of a mappable buffer, once the device is done with what was recorded on it; what is
// recorded from now on finds the bytes. Everything recorded is submitted before, so the device has work meanwhile. It
// returns the time that it waited for the device; an error comes out of Submit.
func (r *Recorder) Fill(b *Buffer, data []byte) (waited time.Duration) {
	if r.err != nil || r.dry {
		return 0
	}
	r.written(b.All())
	if r.flush(); r.err != nil {
		return 0
	}
	waited, err := b.mapped(false, int64(len(data)), func(m mapping) { m.write(0, data) })
	if err != nil {
		r.fail("page in", err)
	}
	return waited
}

// Collect submits what is recorded and copies the first bytes of a mappable buffer to dst, once the device is done with
// it. It returns the time that it waited; an error comes out of Submit.
func (r *Recorder) Collect(b *Buffer, dst []byte) (waited time.Duration) {
	if r.err != nil || r.dry {
		return 0
	}
	if r.flush(); r.err != nil {
		return 0
	}
	waited, err := b.Collect(dst)
	if err != nil {
		r.fail("page out", err)
	}
	return waited
}

// Collect copies the first bytes of a mappable buffer to dst, once the device is done with what was submitted on it. It
// returns the time that it waited. The error is the driver's, with the buffer's label.
func (b *Buffer) Collect(dst []byte) (waited time.Duration, err error) {
	return b.mapped(true, int64(len(dst)), func(m mapping) { m.read(dst) })
}

// mapped gives the buffer to the host while use runs.
func (b *Buffer) mapped(out bool, size int64, use func(m mapping)) (waited time.Duration, err error) {
	if !b.mappable || size > b.Size {
		panic(fmt.Sprintf("gpu: mapping %d bytes of %q of %d", size, b.Label, b.Size))
	}
	if b.native == nil || size == 0 {
		return 0, nil
	}
	start := time.Now()
	m, err := b.dev.mapTransit(b, out)
	waited = time.Since(start)
	if err == nil {
		use(m)
		err = m.unmap(b)
	}
	if err != nil {
		err = fmt.Errorf("%s: %w", b.Label, err)
	}
	return waited, err
}
