package kernels

import "qlora-wgpu/gpu"

// Vector is a float32 vector inside a larger frozen buffer, such as a norm's weight in its layer's region. The whole
// range is bound read-only, so that bind groups do not multiply with the vectors.
type Vector struct {
	Range  gpu.Range
	Offset uint32 // 4-byte words from the range's start, a multiple of 64
}

// check panics unless n elements from the offset lie in the range.
func (v Vector) check(kernel string, n int) {
	require(v.Offset%64 == 0, kernel, "vector offset of %d words is no multiple of 64", v.Offset)
	require((int64(v.Offset)+int64(n))*4 <= v.Range.Size, kernel,
		"vector of %d words at %d exceeds its range of %d bytes", n, v.Offset, v.Range.Size)
}
