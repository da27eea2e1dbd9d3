package gpu

import (
	"errors"
	"fmt"

	"github.com/cogentcore/webgpu/wgpu"
)

// Buffer is device memory that kernels can bind, of Size bytes.
type Buffer struct {
	Label string
	Size  int64

	dev      *Device
	native   *wgpu.Buffer // nil on a dry device
	capacity int64        // what was allocated, at least Size
	mappable bool         // by the host, too
}

// Range is a part of a buffer, in bytes.
type Range struct {
	Buffer       *Buffer
	Offset, Size int64
}

const storageUsage = wgpu.BufferUsageStorage | wgpu.BufferUsageUniform | wgpu.BufferUsageCopySrc | wgpu.BufferUsageCopyDst

// NewBuffer makes a zeroed storage buffer of size bytes, rounded up to a multiple of 256. What does not fit is an
// *OutOfMemory.
func (d *Device) NewBuffer(label string, size int64) (*Buffer, error) {
	return d.newBuffer(label, size, size, storageUsage)
}

// NewUniformBuffer is a storage buffer that takes UniformBytes at least, so that parts of it can be bound as Uniform.
// What does not fit is an *OutOfMemory.
func (d *Device) NewUniformBuffer(label string, size int64) (*Buffer, error) {
	return d.newBuffer(label, size, max(size, UniformBytes), storageUsage)
}

// UniformWindow is a range of UniformBytes, of a buffer made by NewUniformBuffer, to bind as Uniform; it holds the
// buffer's bytes from byte at on, and skip is how many bytes it begins before: at most 255, but where the buffer ends.
func (b *Buffer) UniformWindow(at int64) (window Range, skip int64) {
	start := max(0, min(at, b.capacity-UniformBytes)) / alignment * alignment
	return Range{b, start, UniformBytes}, at - start
}

var errLimit = errors.New("the limit is reached")

// LimitMemory makes the allocator refuse, with an *OutOfMemory, what would take more than so many bytes together; 0: no
// limit.
func (d *Device) LimitMemory(bytes int64) { d.memoryLimit = bytes }

// OutOfMemory says that a buffer did not fit on the device: it wanted so many bytes while so many were in use.
type OutOfMemory struct {
	Label       string
	Want, InUse int64
	Reason      error
}

func (e *OutOfMemory) Error() string {
	return fmt.Sprintf("device memory: %s needs %.1f MiB while %.1f MiB are in use: %v",
		e.Label, float64(e.Want)/(1<<20), float64(e.InUse)/(1<<20), e.Reason)
}

func (d *Device) newBuffer(label string, size, capacity int64, usage wgpu.BufferUsage) (*Buffer, error) {
	size, capacity = alignUp(max(size, 4), alignment), alignUp(max(capacity, 4), alignment)
	b := &Buffer{Label: label, Size: size, dev: d, capacity: capacity}
	if d.memoryLimit > 0 && d.bytes+capacity > d.memoryLimit {
		return nil, &OutOfMemory{Label: label, Want: capacity, InUse: d.bytes, Reason: errLimit}
	}
	if d.native != nil {
		native, err := d.createBuffer(&wgpu.BufferDescriptor{Label: label, Size: uint64(capacity), Usage: usage})
		if err != nil {
			return nil, &OutOfMemory{Label: label, Want: capacity, InUse: d.bytes, Reason: err}
		}
		b.native = native
	}
	d.bytes += capacity
	d.peakBytes = max(d.peakBytes, d.bytes)
	return b, nil
}

// Release gives the memory back; bind groups made on the buffer go with it. nil, and a buffer that was released, are
// allowed.
func (b *Buffer) Release() {
	if b == nil || b.Size == 0 {
		return
	}
	d := b.dev
	d.bytes -= b.capacity
	b.Size, b.capacity = 0, 0
	if b.native == nil || d.abandoned {
		return
	}
	for key, group := range d.groups {
		if key.uses(b) {
			group.Release()
			delete(d.groups, key)
		}
	}
	b.native.Destroy()
	b.native.Release()
	b.native = nil
}

// All is the whole buffer.
func (b *Buffer) All() Range { return Range{b, 0, b.Size} }

// Write puts bytes into the buffer before any later submission; len(data) and offset are multiples of 4, else it
// panics. It is for loading, when nothing is being recorded; recorded steps use Recorder.Upload. The error is the
// driver's.
func (b *Buffer) Write(offset int64, data []byte) error {
	if offset%4 != 0 || len(data)%4 != 0 || offset+int64(len(data)) > b.Size {
		panic(fmt.Sprintf("gpu: write of %d bytes at %d into %q of %d bytes", len(data), offset, b.Label, b.Size))
	}
	if b.native == nil || len(data) == 0 {
		return nil
	}
	return b.dev.writeQueue(b, offset, data)
}

func alignUp(n, to int64) int64 { return (n + to - 1) / to * to }
