// Package gpu is the engine's view of WebGPU: a device, buffers, tensors as row shards, kernels made from WGSL, a
// recorder that turns a step into submissions, and read-back. It is the only importer of the WebGPU binding, and the
// only place that knows whether it runs natively (Vulkan, Metal, DX12) or in a browser.
//
// Three rules of this package carry the rest of the engine:
//
//   - A kernel's work is one linear range of workgroups. The recorder cuts that range where a dispatch would run too
//     long or exceed the device's grid, and folds it into three dimensions, so no kernel knows about either limit.
//   - The recorder validates everything before it reaches the driver (an invalid submission aborts the process), keeps
//     the first error, and returns it from Submit with the kernel's name.
//   - Bindings are made for whole slots and cached; a kernel takes its sizes from Params, never from arrayLength.
//
// Sizes and offsets are bytes, shapes are rows × columns of elements, costs are FLOPs. Errors are of four kinds: Open
// has *usererr.Error for what a user can change; memory that is not there is an *OutOfMemory; what a driver or a lost
// device says comes with the label of the buffer, kernel or recording, out of Submit, Read, Wait and whatever else
// waits, and nothing is to be done with the device after it; a wrong shape, size or order of calls is a bug of the
// caller and panics. On a dry device nothing fails but LimitMemory.
package gpu
