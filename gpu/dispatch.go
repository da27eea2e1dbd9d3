package gpu

import (
	"encoding/binary"
	"fmt"
	"math"
	"reflect"
)

// Dispatch runs workgroups [0, groups) of a kernel over ranges, one for each of its bindings. params is a struct of
// uint32, int32 and float32 fields that mirrors the kernel's Params after group_base and group_end. cost is the
// estimated FLOPs of all groups together. Ranges that do not fit the bindings are bugs and panic; an error comes out of
// Submit.
func (r *Recorder) Dispatch(spec KernelSpec, groups int, cost int64, params any, ranges ...Range) {
	if r.err != nil || groups == 0 {
		return
	}
	validate(spec, r.dev, ranges)
	for i, a := range ranges {
		if spec.Bindings[i] == Write {
			r.written(a)
		}
	}
	r.Cost += cost
	limit := r.dev.Limits
	perDispatch := groups
	if cost > limit.MaxDispatchCost {
		perDispatch = max(1, int(int64(groups)*limit.MaxDispatchCost/cost))
	}
	if cube := int64(limit.MaxWorkgroupsPerDimension); cube < 2048 { // larger grids exceed any group count
		perDispatch = min(perDispatch, int(cube*cube*cube))
	}
	kernel, err := r.kernel(spec)
	if err != nil {
		r.fail(spec.Name, err)
		return
	}
	block := encodeParams(spec.Name, params)
	if !r.dry {
		defer r.timed(kernel, cost)()
	}
	for base := 0; base < groups && r.err == nil; base += perDispatch {
		end := min(base+perDispatch, groups)
		r.Dispatches++
		if !r.dry {
			r.dispatchRange(kernel, block, base, end, ranges)
		}
		r.account(cost * int64(end-base) / int64(groups))
	}
}

func (r *Recorder) kernel(spec KernelSpec) (*Kernel, error) {
	if r.dry {
		if r.kernels == nil {
			r.kernels = map[string]KernelSpec{}
		}
		r.kernels[spec.Label()] = spec
		return nil, nil
	}
	return r.dev.Kernel(spec)
}

func (r *Recorder) dispatchRange(kernel *Kernel, block []byte, base, end int, ranges []Range) {
	if err := r.begin(); err != nil {
		r.fail(kernel.label, err)
		return
	}
	offset := len(r.params)
	r.params = append(r.params, block...)
	binary.LittleEndian.PutUint32(r.params[offset:], uint32(base))
	binary.LittleEndian.PutUint32(r.params[offset+4:], uint32(end))
	group, err := r.dev.bindGroup(kernel.layout, ranges)
	if err != nil {
		r.fail(kernel.label, err)
		return
	}
	if r.pass == nil {
		r.pass = r.encoder.BeginComputePass(nil)
	}
	x, y, z := fold(end-base, r.dev.Limits.MaxWorkgroupsPerDimension)
	r.pass.SetPipeline(kernel.pipeline)
	r.pass.SetBindGroup(0, group, []uint32{uint32(offset)})
	r.pass.DispatchWorkgroups(x, y, z)
}

// fold spreads n workgroups over three dimensions of at most limit each; the product may exceed n, kernels stop at
// group_end.
func fold(n, limit int) (x, y, z uint32) {
	ceil := func(a, b int) int { return (a + b - 1) / b }
	xi := min(n, limit)
	yi := min(ceil(n, xi), limit)
	zi := ceil(n, xi*yi)
	return uint32(xi), uint32(yi), uint32(zi)
}

// account flushes when the submission has grown to its limits.
func (r *Recorder) account(cost int64) {
	r.pending.cost += cost
	r.pending.dispatches++
	limit := r.dev.Limits
	if r.pending.cost >= limit.MaxSubmitCost || r.pending.dispatches >= min(limit.MaxDispatchesPerSubmit, int(r.dev.ringBytes/paramsBytes)) {
		r.flush()
	}
}

// validate panics on what would abort the process in the driver: these are bugs of a kernel's wrapper, not of a user.
func validate(spec KernelSpec, d *Device, ranges []Range) {
	if len(ranges) != len(spec.Bindings) {
		panic(fmt.Sprintf("gpu: %s takes %d bindings, got %d", spec.Name, len(spec.Bindings), len(ranges)))
	}
	for i, a := range ranges {
		limit := int64(0)
		if a.Buffer != nil {
			limit = a.Buffer.Size
			if spec.Bindings[i] == Uniform {
				limit = a.Buffer.capacity
			}
		}
		if a.Offset < 0 || a.Size <= 0 || a.Offset%alignment != 0 || a.Size%4 != 0 || a.Offset+a.Size > limit {
			panic(fmt.Sprintf("gpu: %s: binding %d is bytes %d+%d of %v", spec.Name, i+1, a.Offset, a.Size, a.Buffer))
		}
		if a.Size > d.Limits.MaxTensorBytes() {
			panic(fmt.Sprintf("gpu: %s: binding %d (%s) has %d bytes, at most %d can be bound",
				spec.Name, i+1, a.Buffer.Label, a.Size, d.Limits.MaxTensorBytes()))
		}
		for j, b := range ranges[:i] {
			x, y := spec.Bindings[i].storage(), spec.Bindings[j].storage()
			if a.Buffer != b.Buffer || x != Write && y != Write {
				continue
			}
			if x != y {
				panic(fmt.Sprintf("gpu: %s binds %s both as read and as write (%d and %d)", spec.Name, a.Buffer.Label, j+1, i+1))
			}
			if a.overlaps(b) {
				panic(fmt.Sprintf("gpu: %s: bindings %d and %d overlap in %s", spec.Name, j+1, i+1, a.Buffer.Label))
			}
		}
	}
}

// encodeParams lays the fields out after group_base and group_end, four bytes each, as WGSL does for scalars.
func encodeParams(name string, params any) []byte {
	block := make([]byte, paramsBytes)
	if params == nil {
		return block
	}
	v := reflect.ValueOf(params)
	if 8+4*v.NumField() > paramsBytes {
		panic("gpu: " + name + ": Params exceed 256 bytes")
	}
	for i := 0; i < v.NumField(); i++ {
		var bits uint32
		switch f := v.Field(i); f.Kind() {
		case reflect.Uint32:
			bits = uint32(f.Uint())
		case reflect.Int32:
			bits = uint32(int32(f.Int()))
		case reflect.Float32:
			bits = math.Float32bits(float32(f.Float()))
		default:
			panic(fmt.Sprintf("gpu: %s: field %d of Params is a %s", name, i, f.Kind()))
		}
		binary.LittleEndian.PutUint32(block[8+4*i:], bits)
	}
	return block
}
