package gpu

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"sync"

	"github.com/cogentcore/webgpu/wgpu"
	"golang.org/x/sync/errgroup"
)

// Access is how a kernel binds a range.
type Access byte

const (
	// Read is for memory no kernel writes in the same submission: frozen weights, tables.
	Read Access = 'r'
	// Write is `read_write`, for outputs and for what is changed in place.
	Write Access = 'w'
	// Input is an input that is bound `read_write` like everything that lives in the arena: one dispatch may not bind a
	// buffer both ways.
	Input Access = 'i'
	// Uniform binds UniformBytes of a buffer (see Buffer.UniformWindow) as a uniform array. On CPU devices such a load
	// costs a twentieth of a storage load. A dispatch may not write the buffer that it binds so.
	Uniform Access = 'u'
)

// UniformBytes is the largest uniform binding that every WebGPU device offers.
const UniformBytes = 64 << 10

// storage is how WebGPU binds it.
func (a Access) storage() Access {
	if a == Input {
		return Write
	}
	return a
}

// KernelSpec is a WGSL file with its constants. Binding 0 is the uniform Params block, whose first two fields are the
// linear workgroup range `group_base` and `group_end`; bindings 1 to n follow Bindings.
type KernelSpec struct {
	Name      string // stem of the file, and label everywhere
	Source    string
	Constants map[string]uint32
	Bindings  []Access
	Needs     string // a feature that the device must have, by WebGPU's name; empty: none
}

// Label is the name with its constants, for profiles and errors.
func (s KernelSpec) Label() string {
	if len(s.Constants) == 0 {
		return s.Name
	}
	parts := make([]string, 0, len(s.Constants))
	for k, v := range s.Constants {
		parts = append(parts, fmt.Sprintf("%s=%d", k, v))
	}
	sort.Strings(parts)
	return s.Name + "[" + strings.Join(parts, " ") + "]"
}

// Kernel is a compiled pipeline.
type Kernel struct {
	Spec     KernelSpec
	label    string
	layout   *layout
	pipeline *wgpu.ComputePipeline
}

// layout is what all kernels with the same bindings share.
type layout struct {
	access   string
	group    *wgpu.BindGroupLayout
	pipeline *wgpu.PipelineLayout
}

// WebGPU's portable defaults.
const (
	maxStorageBindings = 8
	maxUniformBindings = 12 // Params among them
	maxBindings        = maxStorageBindings + maxUniformBindings - 1
)

// count is how many bindings are bound as a.
func (s KernelSpec) count(a Access) (n int) {
	for _, b := range s.Bindings {
		if b.storage() == a {
			n++
		}
	}
	return n
}

// Kernel compiles the spec, once per device. Safe for concurrent use, so that pipelines can be made in parallel. The
// error is the shader compiler's, with the kernel's label; more bindings than WebGPU promises, or a feature that the
// device lacks, are bugs and panic.
func (d *Device) Kernel(spec KernelSpec) (*Kernel, error) {
	label := spec.Label()
	if storage, uniform := spec.count(Read)+spec.count(Write), 1+spec.count(Uniform); storage > maxStorageBindings ||
		uniform > maxUniformBindings {
		panic(fmt.Sprintf("gpu: %s has %d storage and %d uniform bindings, WebGPU promises %d and %d",
			label, storage, uniform, maxStorageBindings, maxUniformBindings))
	}
	if !d.Has(spec.Needs) {
		panic(fmt.Sprintf("gpu: %s needs the feature %s, which the device lacks", label, spec.Needs))
	}
	d.mu.Lock()
	kernel := d.kernels[label]
	if kernel == nil {
		kernel = sync.OnceValues(func() (*Kernel, error) { return d.newKernel(spec, label) })
		d.kernels[label] = kernel
	}
	d.mu.Unlock()
	return kernel()
}

func (d *Device) newKernel(spec KernelSpec, label string) (_ *Kernel, err error) {
	k := &Kernel{Spec: spec, label: label}
	if d.native == nil {
		return k, nil
	}
	if k.layout, err = d.layoutFor(spec.Bindings); err != nil {
		return nil, fmt.Errorf("kernel %s: %w", label, err)
	}
	if k.pipeline, err = d.compile(label, Specialize(spec.Name, spec.Source, spec.Constants), k.layout); err != nil {
		return nil, fmt.Errorf("kernel %s: %w", label, err)
	}
	return k, nil
}

// Compile makes kernels, several at a time: a driver may take a tenth of a second and more for each. What another call
// is making is waited for. made is told of each one that is there, by several goroutines; nil: nobody wants to know.
// The error is the first of Kernel, or ctx's, which is looked at before each. Natively a kernel that is being made is
// finished; in a browser, which may have a hundred others to make first, it is not waited for.
func (d *Device) Compile(ctx context.Context, specs []KernelSpec, made func()) error {
	var group errgroup.Group
	group.SetLimit(compilers)
	for _, spec := range specs {
		group.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			err := d.kernelFor(ctx, spec)
			if err == nil && made != nil {
				made()
			}
			return err
		})
	}
	return group.Wait()
}

const compilers = 8

func (d *Device) layoutFor(bindings []Access) (*layout, error) {
	access := string(bindingsKey(bindings))
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.layouts[access]; l != nil {
		return l, nil
	}
	entries := []wgpu.BindGroupLayoutEntry{{
		Binding: 0, Visibility: wgpu.ShaderStageCompute,
		Buffer: wgpu.BufferBindingLayout{Type: wgpu.BufferBindingTypeUniform, HasDynamicOffset: true, MinBindingSize: paramsBytes},
	}}
	for i, a := range bindings {
		kind := wgpu.BufferBindingTypeStorage
		switch a {
		case Read:
			kind = wgpu.BufferBindingTypeReadOnlyStorage
		case Uniform:
			kind = wgpu.BufferBindingTypeUniform
		}
		entries = append(entries, wgpu.BindGroupLayoutEntry{
			Binding: uint32(i + 1), Visibility: wgpu.ShaderStageCompute, Buffer: wgpu.BufferBindingLayout{Type: kind},
		})
	}
	group, err := d.native.CreateBindGroupLayout(&wgpu.BindGroupLayoutDescriptor{Label: access, Entries: entries})
	if err != nil {
		return nil, err
	}
	pipeline, err := d.native.CreatePipelineLayout(&wgpu.PipelineLayoutDescriptor{
		Label: access, BindGroupLayouts: []*wgpu.BindGroupLayout{group},
	})
	if err != nil {
		return nil, err
	}
	l := &layout{access, group, pipeline}
	d.layouts[access] = l
	return l, nil
}

func bindingsKey(bindings []Access) []byte {
	out := make([]byte, len(bindings))
	for i, a := range bindings {
		out[i] = byte(a.storage())
	}
	return out
}

// groupKey identifies a bind group: its layout and the ranges bound.
type groupKey struct {
	layout *layout
	ranges [maxBindings]Range
}

func (k groupKey) uses(b *Buffer) bool {
	for _, r := range k.ranges {
		if r.Buffer == b {
			return true
		}
	}
	return false
}

func (d *Device) bindGroup(l *layout, ranges []Range) (*wgpu.BindGroup, error) {
	key := groupKey{layout: l}
	copy(key.ranges[:], ranges)
	if g := d.groups[key]; g != nil {
		return g, nil
	}
	entries := []wgpu.BindGroupEntry{{Binding: 0, Buffer: d.params.native, Offset: 0, Size: paramsBytes}}
	for i, r := range ranges {
		entries = append(entries, wgpu.BindGroupEntry{
			Binding: uint32(i + 1), Buffer: r.Buffer.native, Offset: uint64(r.Offset), Size: uint64(r.Size),
		})
	}
	g, err := d.native.CreateBindGroup(&wgpu.BindGroupDescriptor{Layout: l.group, Entries: entries})
	if err != nil {
		return nil, err
	}
	d.groups[key] = g
	return g, nil
}
