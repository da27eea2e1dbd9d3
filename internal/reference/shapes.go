// Package reference defines every operation of training in plain float64: the values that kernels are checked against.
// Tests and `qlora-wgpu check` import it, training never does. Matrices are row-major slices; a backward computes the
// gradient of sum(dy * y). In shapes T is tokens, S keys, C hidden size, N outputs, K inputs, R rank, V vocabulary, H
// query heads, KVH key/value heads, D head dimension.
package reference

import "fmt"

// wantLen panics naming the operand: the caller passed a wrong shape.
func wantLen(name string, got int, dims ...int) {
	n := 1
	for _, d := range dims {
		n *= d
	}
	if got != n {
		panic(fmt.Sprintf("reference: %s has %d elements, want %v", name, got, dims))
	}
}

// rows is the number of rows of a matrix with this many columns.
func rows(name string, length, columns int) int {
	if columns <= 0 || length%columns != 0 {
		panic(fmt.Sprintf("reference: %s has %d elements, not a multiple of %d columns", name, length, columns))
	}
	return length / columns
}

// dot sums in four chains: one would wait on each addition.
func dot(a, b []float64) float64 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float64
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return s0 + s1 + (s2 + s3)
}

// addScaled is dst += scale*x.
func addScaled(dst []float64, scale float64, x []float64) {
	x = x[:len(dst)]
	for i := range dst {
		dst[i] += scale * x[i]
	}
}
