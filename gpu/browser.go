//go:build js

package gpu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"syscall/js"
	"unsafe"

	"github.com/cogentcore/webgpu/wgpu"

	"qlora-wgpu/internal/browser"
	"qlora-wgpu/internal/usererr"
)

// hostDevice keeps the JavaScript objects behind the binding's values, for the calls that its browser half gets wrong.
type hostDevice struct {
	device, queue js.Value
	// Uint8Array; uploads pass through it, a view of the Go heap may be detached when the heap grows
	staging    js.Value
	uncaptured js.Func // listener of errors outside any error scope
	gone       chan struct{}
	compiling  sync.WaitGroup
}

// NoAdapter is the error of a browser without a usable WebGPU.
var NoAdapter = errors.New("no WebGPU adapter found")

// Adapters lists the one adapter that the browser offers. Without one the error is a *usererr.Error, its reason
// NoAdapter.
func Adapters() ([]AdapterInfo, error) {
	adapter, err := requestAdapter()
	if err != nil {
		return nil, err
	}
	return []AdapterInfo{describe(adapter)}, nil
}

func requestAdapter() (js.Value, error) {
	api := js.Global().Get("navigator").Get("gpu")
	if !api.Truthy() {
		return js.Null(), (&usererr.Error{Op: "open device", Err: NoAdapter}).
			Hinted("this browser has no WebGPU, or the page is not served from a secure origin")
	}
	adapter, err := browser.Await(context.Background(), api.Call("requestAdapter", map[string]any{"powerPreference": "high-performance"}))
	if err != nil || !adapter.Truthy() {
		return js.Null(), (&usererr.Error{Op: "open device", Err: NoAdapter}).
			Hinted("WebGPU is present but offers no adapter; enable hardware acceleration in the browser's settings")
	}
	return adapter, nil
}

func describe(adapter js.Value) AdapterInfo {
	out := AdapterInfo{Backend: "browser", Type: "unknown"}
	if info := adapter.Get("info"); info.Truthy() {
		text := func(key string) string {
			if v := info.Get(key); v.Type() == js.TypeString {
				return v.String()
			}
			return ""
		}
		out.Vendor, out.Driver = text("vendor"), text("description")
		out.Name = fmt.Sprintf("%s %s", text("vendor"), text("architecture"))
		if text("architecture") == "swiftshader" || info.Get("isFallbackAdapter").Truthy() {
			out.Type = "cpu"
		}
	}
	limits := adapter.Get("limits")
	out.MaxBindingBytes = uint64(limits.Get("maxStorageBufferBindingSize").Float())
	out.MaxBufferBytes = uint64(limits.Get("maxBufferSize").Float())
	out.WorkgroupBytes = limits.Get("maxComputeWorkgroupStorageSize").Int()
	add := js.FuncOf(func(_ js.Value, args []js.Value) any {
		out.Features = append(out.Features, args[0].String())
		return nil
	})
	defer add.Release()
	adapter.Get("features").Call("forEach", add)
	return out
}

// Open makes a device with the portable default limits, and with subgroups where there are any. Where the browser
// offers no adapter the error is a *usererr.Error, its reason NoAdapter; other errors are ctx's or the browser's.
func Open(ctx context.Context, o Options) (*Device, error) {
	adapter, err := requestAdapter()
	if err != nil {
		return nil, err
	}
	info := describe(adapter) // before requestDevice, which consumes the adapter
	var features []string
	required := []any{}
	if slices.Contains(info.Features, Subgroups) {
		features, required = append(features, Subgroups), append(required, Subgroups)
	}
	value, err := browser.Await(ctx, adapter.Call("requestDevice", map[string]any{"label": "qlora-wgpu", "requiredFeatures": required}))
	if err != nil {
		if value.Truthy() { // ctx was cancelled meanwhile, and the device is there
			value.Call("destroy")
		}
		return nil, fmt.Errorf("open device %s: %w", info.Name, err)
	}
	native := wgpu.NewDevice(value)
	d := newDevice(info, &native, o)
	d.features = features
	d.host = hostDevice{
		device: value, queue: value.Get("queue"), staging: js.Global().Get("Uint8Array").New(1 << 20), gone: make(chan struct{}),
	}
	// An invalid command or submission is reported nowhere else: without this the work would silently not happen.
	d.host.uncaptured = js.FuncOf(func(_ js.Value, args []js.Value) any {
		if d.lost == nil {
			d.lost = fmt.Errorf("device error: %s", args[0].Get("error").Get("message").String())
		}
		return nil
	})
	value.Call("addEventListener", "uncapturederror", d.host.uncaptured)
	go func() {
		reason, _ := browser.Await(context.Background(), value.Get("lost"))
		d.lost = fmt.Errorf("device lost: %s", reason.Get("message").String())
		close(d.host.gone)
	}()
	return d, nil
}

// Release destroys the device and waits until the browser has said so: its callback may not come after the program's
// end.
func (d *Device) Release() {
	if d.native != nil {
		d.host.compiling.Wait()
		d.host.device.Call("destroy")
		<-d.host.gone
		d.host.device.Call("removeEventListener", "uncapturederror", d.host.uncaptured)
		d.host.uncaptured.Release()
		d.native = nil
	}
}

// raw is the JavaScript object behind a value of the binding, whose only field it is; wrapped is its inverse.
func raw[T any](x *T) js.Value { return *(*js.Value)(unsafe.Pointer(x)) }

func wrapped[T any](v js.Value) *T {
	x := new(T)
	*(*js.Value)(unsafe.Pointer(x)) = v
	return x
}

// scoped runs create between error scopes: the binding reports no validation or memory error of its own. Scopes are a
// stack of the device, so both are popped before the first wait lets another goroutine push.
func (d *Device) scoped(create func()) error {
	filters := []string{"out-of-memory", "validation"}
	for _, filter := range filters {
		d.host.device.Call("pushErrorScope", filter)
	}
	create()
	var popped []js.Value
	for range filters {
		popped = append(popped, d.host.device.Call("popErrorScope"))
	}
	var first error
	for _, promise := range popped {
		problem, err := browser.Await(context.Background(), promise)
		if err == nil && problem.Truthy() {
			err = errors.New(problem.Get("message").String())
		}
		if first == nil {
			first = err
		}
	}
	if first == nil {
		first = d.lost
	}
	return first
}

func (d *Device) createBuffer(desc *wgpu.BufferDescriptor) (b *wgpu.Buffer, err error) {
	err = d.scoped(func() { b, _ = d.native.CreateBuffer(desc) })
	return b, err
}

// compile lets pipelines of several goroutines be made at once, which the binding's synchronous call would not.
func (d *Device) compile(label, source string, l *layout) (*wgpu.ComputePipeline, error) {
	device := d.host.device
	device.Call("pushErrorScope", "validation")
	module := device.Call("createShaderModule", map[string]any{"label": label, "code": source})
	pending := device.Call("createComputePipelineAsync", map[string]any{
		"label": label, "layout": raw(l.pipeline), "compute": map[string]any{"module": module, "entryPoint": "main"},
	})
	popped := device.Call("popErrorScope")
	pipeline, err := browser.Await(context.Background(), pending)
	// A bad shader fails twice; the scope's error has the line in the source.
	if problem, failed := browser.Await(context.Background(), popped); failed == nil && problem.Truthy() {
		return nil, errors.New(problem.Get("message").String())
	}
	if err != nil {
		return nil, err
	}
	return wrapped[wgpu.ComputePipeline](pipeline), nil
}

// newClock has none to give: the binding knows no queries in a browser.
func (d *Device) newClock() (clock, error) { return nil, nil }

// kernelFor makes a kernel, and leaves it to the browser where ctx is cancelled meanwhile.
func (d *Device) kernelFor(ctx context.Context, spec KernelSpec) error {
	made := make(chan error, 1)
	d.host.compiling.Go(func() {
		_, err := d.Kernel(spec)
		made <- err
	})
	select {
	case err := <-made:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// CompileAhead begins to make kernels and does not wait for them: the browser compiles beside what the engine does,
// until ctx is cancelled. What goes wrong is told where a kernel is used.
func (d *Device) CompileAhead(ctx context.Context, specs []KernelSpec) {
	d.host.compiling.Go(func() { _ = d.Compile(ctx, specs, nil) })
}

func (d *Device) writeQueue(b *Buffer, offset int64, data []byte) error {
	limit := d.host.staging.Length()
	for at := 0; at < len(data); at += limit {
		n := min(limit, len(data)-at)
		js.CopyBytesToJS(d.host.staging, data[at:at+n])
		d.host.queue.Call("writeBuffer", raw(b.native), offset+int64(at), d.host.staging, 0, n)
	}
	return d.lost
}

func (d *Device) submit(commands *wgpu.CommandBuffer) error {
	d.queue.Submit(commands)
	return d.lost
}

// whenDone has then called once the device is done with all that was submitted; on a device that is gone, never.
func (d *Device) whenDone(then func()) {
	done := d.host.queue.Call("onSubmittedWorkDone")
	go func() {
		if _, err := browser.Await(context.Background(), done); err == nil && d.lost == nil {
			then()
		}
	}()
}

func endPass(p *wgpu.ComputePassEncoder) error {
	p.End()
	return nil
}

// mapRead copies the buffer's first len(dst) bytes out once all submitted work is done.
func (d *Device) mapRead(b *Buffer, dst []byte) error {
	buffer := raw(b.native)
	size := alignUp(int64(len(dst)), 8)
	if _, err := browser.Await(context.Background(), buffer.Call("mapAsync", 1, 0, size)); err != nil {
		return err
	}
	js.CopyBytesToGo(dst, js.Global().Get("Uint8Array").New(buffer.Call("getMappedRange", 0, size)))
	buffer.Call("unmap")
	return d.lost
}

// mapping is a transit's memory while it belongs to the host: a view of the mapped range.
type mapping struct{ bytes js.Value }

func (d *Device) mapTransit(b *Buffer, out bool) (mapping, error) {
	mode := 2 // GPUMapMode.WRITE
	if out {
		mode = 1
	}
	buffer := raw(b.native)
	if _, err := browser.Await(context.Background(), buffer.Call("mapAsync", mode, 0, b.Size)); err != nil {
		return mapping{}, err
	}
	return mapping{js.Global().Get("Uint8Array").New(buffer.Call("getMappedRange", 0, b.Size))}, d.lost
}

func (m mapping) write(at int64, data []byte) {
	js.CopyBytesToJS(m.bytes.Call("subarray", at, at+int64(len(data))), data)
}
func (m mapping) read(dst []byte) { js.CopyBytesToGo(dst, m.bytes) }

func (m mapping) unmap(b *Buffer) error {
	raw(b.native).Call("unmap")
	return nil
}
