// Package kernels has one file per operation: the formula with shapes, Params mirrored from the shader, and the functions that check
// shapes and record dispatches. Contracts: forward functions overwrite their outputs; a backward function overwrites unless it
// says `+=`. All sizes come from tensors, in elements; a mismatch is a bug of the caller and panics with the kernel and both shapes.
package kernels

import (
	"fmt"

	"qlora-wgpu/gpu"
	"qlora-wgpu/shaders"
)

// An op names its shader and how it binds; constants are added at the call.
type op struct {
	name     string
	bindings string // one letter a binding, see gpu.Access
	params   any    // zero value of its Params, for the test that compares it with the shader
	needs    string // a feature of the device, see gpu.KernelSpec
}

// ops is every shader's binding order and Params, by shader name.
var ops = map[string]*op{}

func define(name, bindings string, params any) *op {
	o := &op{name: name, bindings: bindings, params: params}
	ops[name] = o
	return o
}

// needing is the same for a shader that needs a feature of the device.
func (o *op) needing(feature string) *op {
	o.needs = feature
	return o
}

// spec is the kernel with its constants; nil for none.
func (o *op) spec(constants map[string]uint32) gpu.KernelSpec {
	access := make([]gpu.Access, len(o.bindings))
	for i := range access {
		access[i] = gpu.Access(o.bindings[i])
	}
	return gpu.KernelSpec{Name: o.name, Source: shaders.Source(o.name), Constants: constants, Bindings: access, Needs: o.needs}
}

// Specs lists every kernel with the file's own constants, for the test that compiles each shader.
func Specs() []gpu.KernelSpec {
	var out []gpu.KernelSpec
	for _, name := range shaders.Names() {
		if o := ops[name]; o != nil {
			out = append(out, o.spec(nil))
		}
	}
	return out
}

func ceilDiv(a, b int) int { return (a + b - 1) / b }

// require panics on a caller's bug, naming the kernel.
func require(ok bool, kernel, format string, args ...any) {
	if !ok {
		panic(fmt.Sprintf("%s: %s", kernel, fmt.Sprintf(format, args...)))
	}
}

// sameShape panics unless the tensors agree in rows and columns.
func sameShape(kernel string, first *gpu.Tensor, others ...*gpu.Tensor) {
	for _, t := range others {
		require(t.Rows == first.Rows && t.Cols == first.Cols, kernel, "%s is %d×%d, %s is %d×%d", first.Name, first.Rows, first.Cols, t.Name, t.Rows, t.Cols)
	}
}
