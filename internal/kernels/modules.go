package kernels

import (
	"qlora-wgpu/gpu"
	"qlora-wgpu/shaders"
)

// ModuleSpecs lists the modules of the shader library, each with an entry that does nothing, for the tests that compile
// them by themselves.
func ModuleSpecs() (specs []gpu.KernelSpec) {
	for _, name := range shaders.Modules() {
		specs = append(specs, gpu.KernelSpec{
			Name: "lib/" + name, Source: shaders.Module(name) + "\n@compute @workgroup_size(1)\nfn main() {}\n",
		})
	}
	return specs
}
