package gpu

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/cogentcore/webgpu/wgpu"
)

// AdapterInfo describes an adapter as `qlora-wgpu devices` lists it: its limits in bytes, its features by WebGPU's
// names.
type AdapterInfo struct {
	Index   int    `json:"index"`
	Name    string `json:"name"`
	Vendor  string `json:"vendor"`
	Driver  string `json:"driver"`
	Backend string `json:"backend"`
	// Type is "discrete", "integrated", "cpu" or "unknown".
	Type            string   `json:"type"`
	MaxBindingBytes uint64   `json:"max_binding_bytes"`
	MaxBufferBytes  uint64   `json:"max_buffer_bytes"` // NoLimit where the driver tells none
	WorkgroupBytes  int      `json:"max_workgroup_bytes"`
	Features        []string `json:"features"`
}

// NoLimit stands for a limit that a driver does not tell.
const NoLimit = math.MaxUint64

// String is the name with the kind of device and how it is driven.
func (i AdapterInfo) String() string { return fmt.Sprintf("%s (%s, %s)", i.Name, i.Type, i.Backend) }

// Key identifies the adapter and its driver, for caches of what was measured on it.
func (a AdapterInfo) Key() string {
	return fmt.Sprintf("%s/%s/%s", a.Name, a.Backend, a.Driver)
}

// SharesHostMemory tells whether the adapter has no memory of its own.
func (a AdapterInfo) SharesHostMemory() bool { return a.Type == "cpu" || a.Type == "integrated" }

// Options selects and restricts a device.
type Options struct {
	// Adapter is an index or a part of a name as `devices` prints them; empty picks the fastest kind.
	Adapter string
	// Choice is asked where several adapters may be meant; without it the first that opens is taken.
	Choice Choice
	// Limits restricts the device further where a field is set.
	Limits Limits
	// SubmitScale shortens dispatches and submissions to this part of their usual time, for a driver that cannot bear
	// that; 0: none.
	SubmitScale float64
}

// Choice is what Open asks about the adapters that it may choose between. Nothing is asked about the last one:
// whoever opened it finds out by using it.
type Choice struct {
	// Fits tells whether the device computes rightly: a *usererr.Error passes it over for the next, other errors end the
	// opening.
	Fits func(*Device) error
	// PassedOver is told of each adapter that does not fit, or that the driver does not open, and of what is tried next.
	PassedOver func(info AdapterInfo, reason error, next AdapterInfo)
}

// Device is a WebGPU device with everything that is made once on it: pipelines, bind groups, the Params ring.
// Recording is for one goroutine; creating kernels may happen from several.
type Device struct {
	Info   AdapterInfo
	Limits Limits
	// Variants holds the choice of each operation's variant on this device.
	Variants *VariantTable
	// Mappable says that storage buffers can be mapped and lie in the host's own memory. Browsers do not offer it, and on
	// a graphics card the host would reach its memory through the bus.
	Mappable bool

	options  Options
	features []string     // that the device was asked for and has, beyond those that every one has
	native   *wgpu.Device // nil for a dry device
	queue    *wgpu.Queue
	host     hostDevice // what native and browser keep beside it

	mu          sync.Mutex
	kernels     map[string]func() (*Kernel, error) // by label; each makes its kernel once
	layouts     map[string]*layout
	groups      map[groupKey]*wgpu.BindGroup
	params      *Buffer
	staging     *Buffer // source of uploads recorded between dispatches
	readback    *Buffer
	uniform     []*Buffer // scratch
	ringBytes   int64
	bytes       int64
	peakBytes   int64
	memoryLimit int64
	profile     *profile // while dispatches are timed
	watcher     *watcher // nil: nobody watches
	lost        error
	abandoned   bool
}

func newDevice(info AdapterInfo, native *wgpu.Device, o Options) *Device {
	d := &Device{
		Info: info, native: native, options: o,
		Variants:  newVariantTable(),
		kernels:   map[string]func() (*Kernel, error){},
		layouts:   map[string]*layout{},
		groups:    map[groupKey]*wgpu.BindGroup{},
		ringBytes: MaxRingBytes,
	}
	d.setSpeed(initialSpeed(info.Type))
	if native != nil {
		d.queue = native.GetQueue()
	}
	return d
}

// setSpeed derives the cost limits from the FLOP/s that the device sustains.
func (d *Device) setSpeed(flopsPerSecond float64) {
	if d.options.SubmitScale > 0 {
		flopsPerSecond *= d.options.SubmitScale
	}
	d.Limits = DefaultLimits(flopsPerSecond).restrict(d.options.Limits)
}

// Calibrate sets the cost limits from work of a known cost that took so long: dispatchSeconds and submitSeconds of it.
// What is computed does not depend on them.
func (d *Device) Calibrate(cost int64, took time.Duration) {
	if cost > 0 && took > 0 {
		d.setSpeed(float64(cost) / took.Seconds())
	}
}

// initialSpeed is a cautious guess of sustained FLOP/s, until a submission has been timed.
func initialSpeed(kind string) float64 {
	switch kind {
	case "discrete":
		return 1e12
	case "integrated":
		return 2e11
	}
	return 2e10
}

// NewDry makes a device without hardware: buffers have sizes and no bytes, recordings are validated and counted. Plans
// are read off it. It is of type cpu and has the features that are named.
func NewDry(o Options, features ...string) *Device {
	d := newDevice(AdapterInfo{Name: "dry", Type: "cpu"}, nil, o)
	d.features = features
	return d
}

// Twin makes a dry device that answers as d does: the same limits, the same table of variants. What would be made on d
// is counted on it first.
func (d *Device) Twin() *Device {
	twin := newDevice(d.Info, nil, d.options)
	twin.Limits, twin.Variants, twin.Mappable, twin.features = d.Limits, d.Variants, d.Mappable, d.features
	return twin
}

// NewDryDiscrete is a dry device that takes the paths of a graphics card, under the limits that every WebGPU device
// offers.
func NewDryDiscrete() *Device {
	return newDevice(AdapterInfo{Name: "WebGPU's default limits", Type: "discrete"}, nil, Options{})
}

// PartBytes is the largest part into which a layer's frozen weights are cut, in bytes. In a browser they are small: a
// part passes through the memory of the WebAssembly module, which never gets smaller again.
func (d *Device) PartBytes() int64 {
	if d.Info.Backend == "browser" {
		return min(4<<20, d.Limits.MaxBindingBytes)
	}
	return d.Limits.MaxBindingBytes
}

// Subgroups is the feature of WebGPU by which invocations exchange values within a subgroup.
const Subgroups = "subgroups"

// Has reports whether kernels may need the feature; every device has the empty one.
func (d *Device) Has(feature string) bool {
	return feature == "" || slices.Contains(d.features, feature)
}

// Dry reports whether the device has no hardware behind it.
func (d *Device) Dry() bool { return d.native == nil }

// Bytes is what the buffers made on this device hold now, in bytes; PeakBytes the most they held since ResetPeak.
func (d *Device) Bytes() int64     { return d.bytes }
func (d *Device) PeakBytes() int64 { return d.peakBytes }

// Abandon takes the device for lost. It is not used any more, and releasing it and its buffers frees nothing: a driver
// may wait forever for one that hangs.
func (d *Device) Abandon(reason error) { d.lost, d.abandoned = reason, true }

// Lost is why nothing runs on the device any more, or nil.
func (d *Device) Lost() error { return d.lost }

// ResetPeak forgets what was held before: a run's peak is its own, without the self-check's and the autotune's.
func (d *Device) ResetPeak() { d.peakBytes = d.bytes }

// ReleaseScratch frees the uniform scratch; the next kernel that wants it makes one of its size.
func (d *Device) ReleaseScratch() {
	for i, b := range d.uniform {
		b.Release()
		d.uniform[i] = nil
	}
}
