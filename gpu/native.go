//go:build !js

package gpu

/*
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

// The binding's own MapAsync hands C a pointer that the garbage collector may free before the callback runs, so the map
// call is made here with user data that C owns. Prototypes are those of webgpu.h as the linked library implements it.
typedef struct WGPUBufferImpl *WGPUBuffer;
typedef void (*qlora_map_callback)(int32_t status, void *userdata);
extern void wgpuBufferMapAsync(WGPUBuffer buffer, uint32_t mode, size_t offset, size_t size, qlora_map_callback callback, void *userdata);

static void qlora_mapped(int32_t status, void *userdata) { *(volatile int32_t *)userdata = status; }
static void qlora_map(void *buffer, uint32_t mode, size_t size, int32_t *status) {
	wgpuBufferMapAsync((WGPUBuffer)buffer, mode, 0, size, qlora_mapped, status);
}
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unsafe"

	"github.com/cogentcore/webgpu/wgpu"

	"qlora-wgpu/internal/usererr"
)

// Adapters lists what this machine offers, in WebGPU's own order: none where there is no driver, which is no error
// natively.
func Adapters() ([]AdapterInfo, error) {
	list, infos := adapters()
	for _, a := range list {
		a.Release()
	}
	return infos, nil
}

func adapters() ([]*wgpu.Adapter, []AdapterInfo) {
	if os.Getenv("XDG_RUNTIME_DIR") == "" { // the Vulkan loader prints noise without it
		os.Setenv("XDG_RUNTIME_DIR", os.TempDir())
	}
	if os.Getenv("LP_NUM_THREADS") == "" {
		// Software Vulkan deals a dispatch to its threads in equal parts. With one a core, its default, a dispatch ends when
		// the slowest core does, or the last that was asleep.
		os.Setenv("LP_NUM_THREADS", strconv.Itoa(2*runtime.NumCPU()))
	}
	wgpu.SetLogLevel(wgpu.LogLevelOff)
	instance := wgpu.CreateInstance(nil)
	defer instance.Release()
	var out []*wgpu.Adapter
	var infos []AdapterInfo
	seen := map[string]bool{}
	for _, a := range instance.EnumerateAdapters(nil) {
		info := describe(a)
		if strings.HasPrefix(info.Backend, "open-gl") || seen[info.Key()] {
			a.Release() // OpenGL lacks what the kernels need and shows cards a second time
			continue
		}
		seen[info.Key()] = true
		info.Index = len(out)
		out, infos = append(out, a), append(infos, info)
	}
	return out, infos
}

func describe(a *wgpu.Adapter) AdapterInfo {
	info, limits := a.GetInfo(), a.GetLimits().Limits
	out := AdapterInfo{
		// The binding fills "description" with the adapter's name, "device" and "vendor" with PCI ids, and tells no driver
		// version.
		Name: info.DriverDescription, Vendor: info.VendorName + ":" + info.Name,
		Driver: driverStamp(), Backend: strings.ToLower(info.BackendType.String()), Type: "unknown",
		MaxBindingBytes: limits.MaxStorageBufferBindingSize, MaxBufferBytes: limits.MaxBufferSize,
		WorkgroupBytes: int(limits.MaxComputeWorkgroupStorageSize),
	}
	switch info.AdapterType {
	case wgpu.AdapterTypeDiscreteGPU:
		out.Type = "discrete"
	case wgpu.AdapterTypeIntegratedGPU:
		out.Type = "integrated"
	case wgpu.AdapterTypeCPU:
		out.Type = "cpu"
	}
	out.Type = kindOf(out.Name, out.Type)
	for _, f := range a.EnumerateFeatures() {
		if name := f.String(); name != "" {
			out.Features = append(out.Features, name)
		}
	}
	return out
}

// driverStamp changes when a Vulkan driver is installed or updated: WebGPU tells no version, but the manifests of the
// drivers are files. It is empty where there are none.
func driverStamp() string {
	var manifests []string
	for _, dir := range []string{"/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"} {
		found, _ := filepath.Glob(filepath.Join(dir, "*.json"))
		manifests = append(manifests, found...)
	}
	if len(manifests) == 0 {
		return ""
	}
	h := fnv.New32a()
	for _, name := range manifests {
		if info, err := os.Stat(name); err == nil {
			fmt.Fprintln(h, name, info.Size(), info.ModTime().Unix())
		}
	}
	return fmt.Sprintf("drivers %08x", h.Sum32())
}

// NoAdapter is the reason of the error of Open on a machine without a WebGPU driver.
var NoAdapter = errors.New("no WebGPU adapter found")

// Open makes a device on the chosen adapter: discrete before integrated before CPU when o.Adapter is empty, and the
// first of them that fits by o.Choice. An adapter that is not there is a *usererr.Error, its reason NoAdapter where
// there is none at all; other errors are the driver's, or those of o.Choice.
func Open(ctx context.Context, o Options) (*Device, error) {
	list, infos := adapters()
	defer func() {
		for _, a := range list {
			a.Release()
		}
	}()
	if len(list) == 0 {
		return nil, (&usererr.Error{Op: "open device", Err: NoAdapter}).
			Hinted("install a Vulkan driver; without a GPU the software driver mesa-vulkan-drivers works")
	}
	order, err := candidates(infos, o.Adapter)
	if err != nil {
		return nil, err
	}
	return choose(ctx, order, o.Choice, func(info AdapterInfo) (*Device, error) { return request(list[info.Index], info, o) })
}

// request makes a device on an adapter.
func request(adapter *wgpu.Adapter, info AdapterInfo, o Options) (*Device, error) {
	descriptor := wgpu.DeviceDescriptor{Label: "qlora-wgpu"}
	mappable := info.SharesHostMemory() && slices.Contains(info.Features, wgpu.NativeFeatureMappablePrimaryBuffers.String())
	if mappable {
		descriptor.RequiredFeatures = append(descriptor.RequiredFeatures, wgpu.NativeFeatureMappablePrimaryBuffers)
	}
	var features []string
	if timestamp := wgpu.FeatureNameTimestampQuery; slices.Contains(info.Features, timestamp.String()) {
		descriptor.RequiredFeatures = append(descriptor.RequiredFeatures, timestamp)
		features = append(features, timestamp.String())
	}
	native, err := adapter.RequestDevice(&descriptor)
	if err != nil {
		return nil, fmt.Errorf("open device %s: %w", info.Name, err)
	}
	d := newDevice(info, native, o)
	d.Mappable, d.features = mappable, features
	return d, nil
}

// Release gives the device back, with all that was made once on it; buffers of others are to be released before.
func (d *Device) Release() {
	if d.native == nil {
		return
	}
	if d.abandoned {
		return // somebody may still be waiting for it
	}
	for key, g := range d.groups {
		g.Release()
		delete(d.groups, key)
	}
	for _, b := range append([]*Buffer{d.params, d.staging, d.readback}, d.uniform...) {
		b.Release()
	}
	d.pollUntil(func(queueEmpty bool) bool { return queueEmpty })
	d.queue.Release()
	d.native.Release()
	d.native = nil
}

func (d *Device) createBuffer(desc *wgpu.BufferDescriptor) (*wgpu.Buffer, error) {
	return d.native.CreateBuffer(desc)
}

func (d *Device) compile(label, source string, l *layout) (*wgpu.ComputePipeline, error) {
	module, err := d.native.CreateShaderModule(&wgpu.ShaderModuleDescriptor{
		Label: label, WGSLDescriptor: &wgpu.ShaderModuleWGSLDescriptor{Code: source},
	})
	if err != nil {
		return nil, err
	}
	defer module.Release()
	return d.native.CreateComputePipeline(&wgpu.ComputePipelineDescriptor{
		Label: label, Layout: l.pipeline, Compute: wgpu.ProgrammableStageDescriptor{Module: module, EntryPoint: "main"},
	})
}

// kernelFor makes a kernel. That takes too little time to hear a context.
func (d *Device) kernelFor(_ context.Context, spec KernelSpec) error {
	_, err := d.Kernel(spec)
	return err
}

// CompileAhead does nothing: drivers compile quickly, and on the cores that would do something else meanwhile.
func (d *Device) CompileAhead(context.Context, []KernelSpec) {}

func (d *Device) writeQueue(b *Buffer, offset int64, data []byte) error {
	return d.queue.WriteBuffer(b.native, uint64(offset), data)
}

func (d *Device) submit(commands *wgpu.CommandBuffer) error {
	d.queue.Submit(commands)
	return nil
}

func endPass(p *wgpu.ComputePassEncoder) error { return p.End() }

const mapPending = -1

// pollUntil asks the driver what the device is done with, until that is enough. wgpu's own waiting ends after five
// seconds and takes the work for done (gfx-rs/wgpu#4589): what was read then was not written yet, and buffers were
// freed that the device still used.
func (d *Device) pollUntil(enough func(queueEmpty bool) bool) {
	for start := time.Now(); !enough(d.native.Poll(false, nil)); {
		d.host.hear()
		time.Sleep(min(max(time.Since(start)/8, 20*time.Microsecond), time.Millisecond))
	}
	d.host.hear()
}

// mapWait maps the buffer's first size bytes and waits until the device is done with what was submitted on it, and no
// longer.
func (d *Device) mapWait(b *Buffer, mode wgpu.MapMode, size int64) error {
	status := (*int32)(C.malloc(4))
	defer C.free(unsafe.Pointer(status))
	*status = mapPending
	// wgpu.Buffer is {device, buffer}, two C pointers.
	handle := (*[2]unsafe.Pointer)(unsafe.Pointer(b.native))[1]
	C.qlora_map(handle, C.uint32_t(mode), C.size_t(size), (*C.int32_t)(status))
	// The map must have completed before status may be freed.
	d.pollUntil(func(bool) bool { return atomic.LoadInt32(status) != mapPending })
	if *status != 0 {
		return fmt.Errorf("mapping %d bytes failed with status %d (device lost?)", size, int(*status))
	}
	return nil
}

// mapRead copies the buffer's first len(dst) bytes out once all submitted work is done.
func (d *Device) mapRead(b *Buffer, dst []byte) error {
	size := alignUp(int64(len(dst)), 8)
	if err := d.mapWait(b, wgpu.MapModeRead, size); err != nil {
		return err
	}
	copy(dst, b.native.GetMappedRange(0, uint(size)))
	return b.native.Unmap()
}
