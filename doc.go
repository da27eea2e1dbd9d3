// Package qlorawgpu is the root of a module that fine-tunes language models with QLoRA in WGSL compute shaders on any
// WebGPU device. There is no code here: [qlora-wgpu/trainer] is the entry for Go programs, cmd/qlora-wgpu the program.
// A test in this folder holds the order of the packages.
package qlorawgpu
