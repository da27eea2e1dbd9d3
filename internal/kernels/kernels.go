// Package kernels has a file for every operation: the formula with shapes, Params mirrored from the shader, and the
// functions that check shapes and record dispatches. An operation with several variants has a table of them (see
// operation), and a file for each family.
//
// Contracts: forward functions overwrite their outputs; a backward function overwrites unless it says `+=`. All sizes
// come from tensors, in elements; a mismatch is a bug of the caller and panics with the kernel and both shapes. A
// function takes the recorder, what it writes, what it reads, and then settings; where that is more than six, operands
// come in a struct.
package kernels

import (
	"fmt"
	"maps"

	"qlora-wgpu/gpu"
	"qlora-wgpu/shaders"
)

// A shader is a WGSL file and how it binds; constants are added at the call.
type shader struct {
	name     string
	bindings []gpu.Access
	params   any    // zero value of its Params, for the test that compares it with the file
	needs    string // a feature of the device, from the variants that it belongs to
}

// defined are all shaders by name.
var defined = map[string]*shader{}

// define gives a shader its bindings, one letter for each (see gpu.Access), and its Params.
func define(name, bindings string, params any) *shader {
	s := &shader{name: name, params: params}
	for i := range bindings {
		s.bindings = append(s.bindings, gpu.Access(bindings[i]))
	}
	defined[name] = s
	return s
}

// spec is the kernel with its constants; nil for none.
func (s *shader) spec(constants map[string]uint32) gpu.KernelSpec {
	return gpu.KernelSpec{Name: s.name, Source: shaders.Source(s.name), Constants: constants, Bindings: s.bindings, Needs: s.needs}
}

// Specs lists every kernel with the file's own constants, for the test that compiles each shader.
func Specs() []gpu.KernelSpec {
	var out []gpu.KernelSpec
	for _, name := range shaders.Names() {
		if s := defined[name]; s != nil {
			out = append(out, s.spec(nil))
		}
	}
	return out
}

// with is the constants and one more.
func with(constants map[string]uint32, name string, value uint32) map[string]uint32 {
	out := maps.Clone(constants)
	if out == nil {
		out = map[string]uint32{}
	}
	out[name] = value
	return out
}

func flag(b bool) uint32 {
	if b {
		return 1
	}
	return 0
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
		require(t.Rows == first.Rows && t.Cols == first.Cols, kernel,
			"%s is %d×%d, %s is %d×%d", first.Name, first.Rows, first.Cols, t.Name, t.Rows, t.Cols)
	}
}
