//go:build js

package gpu

import (
	"context"
	"errors"
	"fmt"
	"syscall/js"
	"unsafe"

	"github.com/cogentcore/webgpu/wgpu"

	"qlora-wgpu/internal/usererr"
)

// hostDevice keeps the JavaScript objects behind the binding's values, for the calls that its browser half gets wrong.
type hostDevice struct {
	device, queue js.Value
	staging       js.Value // Uint8Array; uploads pass through it, a view of the Go heap may be detached when the heap grows
}

// NoAdapter is the error of a browser without a usable WebGPU.
var NoAdapter = errors.New("no WebGPU adapter found")

// Adapters lists the one adapter that the browser offers.
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
		return js.Null(), (&usererr.Error{Op: "open device", Err: NoAdapter}).Hinted("this browser has no WebGPU, or the page is not served from a secure origin")
	}
	adapter, err := await(context.Background(), api.Call("requestAdapter", map[string]any{"powerPreference": "high-performance"}))
	if err != nil || !adapter.Truthy() {
		return js.Null(), (&usererr.Error{Op: "open device", Err: NoAdapter}).Hinted("WebGPU is present but offers no adapter; enable hardware acceleration in the browser's settings")
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
	out.MaxBindingBytes = int64(limits.Get("maxStorageBufferBindingSize").Float())
	out.MaxBufferBytes = int64(limits.Get("maxBufferSize").Float())
	out.WorkgroupBytes = limits.Get("maxComputeWorkgroupStorageSize").Int()
	adapter.Get("features").Call("forEach", js.FuncOf(func(_ js.Value, args []js.Value) any {
		out.Features = append(out.Features, args[0].String())
		return nil
	}))
	return out
}

// Open makes a device with the portable default limits.
func Open(ctx context.Context, o Options) (*Device, error) {
	adapter, err := requestAdapter()
	if err != nil {
		return nil, err
	}
	info := describe(adapter) // before requestDevice, which consumes the adapter
	value, err := await(ctx, adapter.Call("requestDevice", map[string]any{"label": "qlora-wgpu"}))
	if err != nil {
		return nil, fmt.Errorf("open device %s: %w", info.Name, err)
	}
	native := wgpu.NewDevice(value)
	d := newDevice(info, &native, o)
	d.host = hostDevice{device: value, queue: value.Get("queue"), staging: js.Global().Get("Uint8Array").New(1 << 20)}
	go func() {
		reason, _ := await(context.Background(), value.Get("lost"))
		d.lost = fmt.Errorf("device lost: %s", reason.Get("message").String())
	}()
	return d, nil
}

// Release destroys the device.
func (d *Device) Release() {
	if d.native != nil {
		d.host.device.Call("destroy")
		d.native = nil
	}
}

// await waits for a promise. Must not be called from inside a js.FuncOf callback.
func await(ctx context.Context, promise js.Value) (js.Value, error) {
	type result struct {
		value js.Value
		err   error
	}
	done := make(chan result, 1)
	resolved := js.FuncOf(func(_ js.Value, args []js.Value) any {
		v := js.Undefined()
		if len(args) > 0 {
			v = args[0]
		}
		done <- result{value: v}
		return nil
	})
	rejected := js.FuncOf(func(_ js.Value, args []js.Value) any {
		done <- result{err: errors.New(args[0].Call("toString").String())}
		return nil
	})
	promise.Call("then", resolved, rejected)
	r := <-done
	resolved.Release()
	rejected.Release()
	if r.err == nil {
		r.err = ctx.Err()
	}
	return r.value, r.err
}

// raw is the JavaScript object behind a value of the binding, whose only field it is.
func raw[T any](x *T) js.Value { return *(*js.Value)(unsafe.Pointer(x)) }

// scoped runs create between error scopes: the binding reports no validation or memory error of its own.
func (d *Device) scoped(create func() error) error {
	d.host.device.Call("pushErrorScope", "out-of-memory")
	d.host.device.Call("pushErrorScope", "validation")
	err := create()
	for range 2 {
		problem, failed := await(context.Background(), d.host.device.Call("popErrorScope"))
		if err == nil && failed != nil {
			err = failed
		}
		if err == nil && problem.Truthy() {
			err = errors.New(problem.Get("message").String())
		}
	}
	if err == nil {
		err = d.lost
	}
	return err
}

func (d *Device) createBuffer(desc *wgpu.BufferDescriptor) (b *wgpu.Buffer, err error) {
	err = d.scoped(func() (err error) {
		b, err = d.native.CreateBuffer(desc)
		return err
	})
	return b, err
}

func (d *Device) compile(label, source string, l *layout) (p *wgpu.ComputePipeline, err error) {
	err = d.scoped(func() error {
		module, err := d.native.CreateShaderModule(&wgpu.ShaderModuleDescriptor{Label: label, WGSLDescriptor: &wgpu.ShaderModuleWGSLDescriptor{Code: source}})
		if err != nil {
			return err
		}
		p, err = d.native.CreateComputePipeline(&wgpu.ComputePipelineDescriptor{
			Layout: l.pipeline, Compute: wgpu.ProgrammableStageDescriptor{Module: module, EntryPoint: "main"},
		})
		return err
	})
	return p, err
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

func endPass(p *wgpu.ComputePassEncoder) error {
	p.End()
	return nil
}

// mapRead copies the buffer's first len(dst) bytes out once all submitted work is done.
func (d *Device) mapRead(ctx context.Context, b *Buffer, dst []byte) error {
	buffer := raw(b.native)
	size := alignUp(int64(len(dst)), 8)
	if _, err := await(ctx, buffer.Call("mapAsync", 1, 0, size)); err != nil {
		return err
	}
	js.CopyBytesToGo(dst, js.Global().Get("Uint8Array").New(buffer.Call("getMappedRange", 0, size)))
	buffer.Call("unmap")
	return d.lost
}
