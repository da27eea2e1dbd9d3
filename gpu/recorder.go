package gpu

import (
	"fmt"
	"maps"
	"slices"

	"github.com/cogentcore/webgpu/wgpu"
)

// Recorder turns a sequence of dispatches, uploads and copies into submissions. It keeps the first error, like
// bufio.Writer; after an error it records nothing more, and Submit returns it. On a dry device, or made by DryRecord,
// it validates and counts only.
type Recorder struct {
	// Dispatches and Cost count what was recorded: dispatches, and their estimated FLOPs.
	Dispatches int
	Cost       int64

	dev     *Device
	label   string
	dry     bool
	err     error
	encoder *wgpu.CommandEncoder
	pass    *wgpu.ComputePassEncoder
	params  []byte // Params blocks of this submission
	uploads []byte
	scratch []made // what each holds
	pending struct {
		dispatches int
		cost       int64
	}
	kernels map[string]KernelSpec // of a dry recording, by label
}

// Record starts a recording. Only one recording of a device is open at a time.
func (d *Device) Record(label string) *Recorder {
	return &Recorder{dev: d, label: label, dry: d.Dry()}
}

// DryRecord starts a recording that never reaches the device: arenas and variant tables are planned by it.
func (d *Device) DryRecord(label string) *Recorder {
	return &Recorder{dev: d, label: label, dry: true}
}

// Device is the device recorded for; Dry whether nothing will run.
func (r *Recorder) Device() *Device { return r.dev }
func (r *Recorder) Dry() bool       { return r.dry }

// Err is the first error so far.
func (r *Recorder) Err() error { return r.err }

// Kernels lists what a dry recording dispatched, for Compile.
func (r *Recorder) Kernels() (specs []KernelSpec) {
	for _, label := range slices.Sorted(maps.Keys(r.kernels)) {
		specs = append(specs, r.kernels[label])
	}
	return specs
}

func (r *Recorder) fail(label string, err error) {
	if r.err == nil {
		r.err = fmt.Errorf("%s: %s: %w", r.label, label, err)
	}
}

func (a Range) overlaps(b Range) bool {
	return a.Offset < b.Offset+b.Size && b.Offset < a.Offset+a.Size
}

// Upload copies bytes into a range, in order with the dispatches around it. The size is a multiple of 4 and fits the
// range, else it panics; an error comes out of Submit.
func (r *Recorder) Upload(dst Range, data []byte) {
	if r.err != nil || len(data) == 0 {
		return
	}
	if int64(len(data)) > dst.Size || len(data)%4 != 0 {
		panic(fmt.Sprintf("gpu: upload of %d bytes into %d of %q", len(data), dst.Size, dst.Buffer.Label))
	}
	r.written(dst)
	for at := 0; at < len(data) && !r.dry && r.err == nil; {
		if len(r.uploads) == int(r.dev.ringBytes) {
			r.flush()
		}
		n := min(len(data)-at, int(r.dev.ringBytes)-len(r.uploads))
		if err := r.begin(); err != nil {
			r.fail("upload", err)
			return
		}
		r.endPass()
		if err := r.encoder.CopyBufferToBuffer(r.dev.staging.native,
			uint64(len(r.uploads)), dst.Buffer.native, uint64(dst.Offset+int64(at)), uint64(n)); err != nil {
			r.fail("upload", err)
		}
		r.uploads = append(r.uploads, data[at:at+n]...)
		at += n
	}
}

// Copy copies src to dst; they have the same size, a multiple of 4, and lie in different buffers, else it panics. An
// error comes out of Submit.
func (r *Recorder) Copy(dst, src Range) {
	if r.err != nil {
		return
	}
	if src.Buffer == dst.Buffer || src.Size != dst.Size || src.Size%4 != 0 {
		panic(fmt.Sprintf("gpu: copy of %d bytes of %q to %d bytes of %q", src.Size, src.Buffer.Label, dst.Size, dst.Buffer.Label))
	}
	r.written(dst)
	if r.dry || src.Size == 0 {
		return
	}
	if err := r.begin(); err != nil {
		r.fail("copy", err)
		return
	}
	r.endPass()
	if err := r.encoder.CopyBufferToBuffer(src.Buffer.native,
		uint64(src.Offset), dst.Buffer.native, uint64(dst.Offset), uint64(src.Size)); err != nil {
		r.fail("copy", err)
	}
}

func (r *Recorder) begin() error {
	if r.encoder != nil {
		return nil
	}
	if err := r.dev.makeRings(); err != nil {
		return err
	}
	encoder, err := r.dev.native.CreateCommandEncoder(nil)
	r.encoder = encoder
	return err
}

func (r *Recorder) endPass() {
	if r.pass == nil {
		return
	}
	if err := endPass(r.pass); err != nil {
		r.fail("end of pass", err)
	}
	r.pass.Release()
	r.pass = nil
}

// flush submits what was recorded. Params and uploads are written first: they are ordered before this submission and
// after the one before.
func (r *Recorder) flush() {
	cost := r.pending.cost
	r.pending.cost, r.pending.dispatches = 0, 0
	if r.encoder == nil {
		return
	}
	r.endPass()
	d := r.dev
	write := func(b *Buffer, data []byte) {
		if len(data) > 0 && r.err == nil {
			if err := d.writeQueue(b, 0, data); err != nil {
				r.fail("params", err)
			}
		}
	}
	write(d.params, r.params)
	write(d.staging, r.uploads)
	r.params, r.uploads = r.params[:0], r.uploads[:0]
	commands, err := r.encoder.Finish(nil)
	r.encoder.Release()
	r.encoder = nil
	if err != nil {
		r.fail("finish", err)
	}
	if r.err == nil {
		if r.err = d.submit(commands); r.err == nil {
			d.submitted(cost)
		}
	}
	if commands != nil {
		commands.Release()
	}
}

// Submit sends what remains and returns the first error of the whole recording, with the labels of recording and
// kernel. It does not wait; reading does.
func (r *Recorder) Submit() error {
	if r.err == nil {
		r.flush()
	} else if r.encoder != nil {
		r.endPass()
		r.encoder.Release()
		r.encoder = nil
	}
	return r.err
}

func (d *Device) makeRings() (err error) {
	if d.params != nil {
		return nil
	}
	if d.params, err = d.newBuffer("params", d.ringBytes, d.ringBytes, wgpu.BufferUsageUniform|wgpu.BufferUsageCopyDst); err != nil {
		return err
	}
	if d.staging, err = d.newBuffer("uploads", d.ringBytes, d.ringBytes, wgpu.BufferUsageCopySrc|wgpu.BufferUsageCopyDst); err != nil {
		return err
	}
	d.readback, err = d.newBuffer("read-back", d.ringBytes, d.ringBytes, wgpu.BufferUsageMapRead|wgpu.BufferUsageCopyDst)
	return err
}

// SetRings makes the rings that uploads, Params and read-backs pass through, of so many bytes each (between
// MinRingBytes and MaxRingBytes): small ones cost more submissions. Nothing may be recording. What does not fit is an
// *OutOfMemory.
func (d *Device) SetRings(bytes int64) error {
	d.ringBytes = min(max(bytes, MinRingBytes), MaxRingBytes) / alignment * alignment
	for key, group := range d.groups { // they bind the ring of Params
		group.Release()
		delete(d.groups, key)
	}
	for _, b := range []**Buffer{&d.params, &d.staging, &d.readback} {
		(*b).Release()
		*b = nil
	}
	return d.makeRings()
}
