package gpu

import (
	"fmt"
	"time"

	"github.com/cogentcore/webgpu/wgpu"
)

// Transit is a buffer of Size bytes that the host can map: pages pass through it on their way to the device or back. It
// belongs either to the host (mapped: Write, Read) or to the device (after CopyIn, CopyOut, until Await); using it
// while it is the other's is a bug and panics.
type Transit struct {
	Size int64

	buffer   *Buffer
	out      bool
	atDevice bool
	mapping  mapping
}

// NewTransit makes a transit buffer towards the device, mapped and ready to be written, or with out one that brings
// bytes back. What does not fit is an *OutOfMemory.
func (d *Device) NewTransit(label string, size int64, out bool) (*Transit, error) {
	usage := wgpu.BufferUsageMapWrite | wgpu.BufferUsageCopySrc
	if out {
		usage = wgpu.BufferUsageMapRead | wgpu.BufferUsageCopyDst
	}
	b, err := d.newBuffer(label, size, size, usage)
	if err != nil {
		return nil, err
	}
	t := &Transit{Size: b.Size, buffer: b, out: out}
	if !out {
		err = t.mapped()
	}
	return t, err
}

// Release frees the buffer.
func (t *Transit) Release() { t.buffer.Release() }

// mapped maps the buffer once the submission that used it is done.
func (t *Transit) mapped() (err error) {
	if t.buffer.native == nil {
		return nil
	}
	t.mapping, err = t.buffer.dev.mapTransit(t.buffer, t.out)
	if err != nil {
		err = fmt.Errorf("%s: %w", t.buffer.Label, err)
	}
	return err
}

// Write copies data to byte at of the mapped buffer. Several goroutines may write to different transits.
func (t *Transit) Write(at int64, data []byte) {
	if t.out || t.atDevice || at+int64(len(data)) > t.Size {
		panic(fmt.Sprintf("gpu: write of %d bytes at %d to transit %s", len(data), at, t.buffer.Label))
	}
	if t.buffer.native != nil {
		t.mapping.write(at, data)
	}
}

// Await waits until the device is done with the transit, and gives it back to the host. It returns the time it waited.
// The error says that the device is lost, with the buffer's label.
func (t *Transit) Await() (time.Duration, error) {
	if !t.atDevice {
		return 0, nil
	}
	start := time.Now()
	t.atDevice = false
	err := t.mapped()
	return time.Since(start), err
}

// Read waits for the device and copies the first bytes of what CopyOut brought. It returns the time it waited. Its
// errors are those of Await.
func (t *Transit) Read(dst []byte) (time.Duration, error) {
	waited, err := t.Await()
	if err != nil || t.buffer.native == nil {
		return waited, err
	}
	t.mapping.read(dst)
	return waited, t.buffer.native.Unmap()
}

// CopyIn hands the transit to the device, which copies its first dst.Size bytes to dst, in order with the dispatches
// around it. The copy is submitted at once, so that the transit comes back soon. An error comes out of Submit.
func (r *Recorder) CopyIn(dst Range, t *Transit) {
	if t.out || t.atDevice || dst.Size > t.Size {
		panic(fmt.Sprintf("gpu: copy of %d bytes of transit %s to %s", dst.Size, t.buffer.Label, dst.Buffer.Label))
	}
	if r.err != nil || r.dry {
		return
	}
	if err := t.mapping.unmap(t.buffer); err != nil {
		r.fail("page in", err)
		return
	}
	t.atDevice = true
	r.Copy(dst, Range{t.buffer, 0, dst.Size})
	r.flush()
}

// CopyOut hands the transit to the device, which copies src to its beginning. An error comes out of Submit.
func (r *Recorder) CopyOut(t *Transit, src Range) {
	if !t.out || t.atDevice || src.Size > t.Size {
		panic(fmt.Sprintf("gpu: copy of %d bytes of %s to transit %s", src.Size, src.Buffer.Label, t.buffer.Label))
	}
	if r.err != nil || r.dry {
		return
	}
	t.atDevice = true
	r.Copy(Range{t.buffer, 0, src.Size}, src)
	r.flush()
}

// Fail ends the recording with an error of whoever moves data for it; Submit returns it.
func (r *Recorder) Fail(what string, err error) { r.fail(what, err) }
