package opcases

import (
	"encoding/binary"
	"fmt"
	"math"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/reference"
)

var _ = register(packBF16)

// specialFloats are what rounding on the bits has to get right: zeros, ties from even and odd codes, carries,
// denormals, the largest and beyond, infinities and NaN.
var specialFloats = []uint32{
	0, 0x80000000, 0x3f800000, 0x3f807fff, 0x3f808000, 0x3f808001, 0x3f818000, 0xbf818000, 0x3fffffff, 0x3fff8000,
	1, 0x80000001, 0x00008000, 0x00018000, 0x007fffff, 0x7f7f7fff, 0x7f7f8000, 0xff7fffff,
	0x7f800000, 0xff800000, 0x7fc00000, 0xff800001, 0x7f80ffff, 0x7fffffff, 0xffffffff,
}

func packBF16() (cases []Case) {
	// A workgroup takes 256 groups of 4 columns: 16 rows of 64 fill it; 37 rows of 36 end in the middle of one.
	for _, s := range [][2]int{{1, 4}, {15, 64}, {16, 64}, {17, 64}, {37, 36}, {37, 576}} {
		T, C := s[0], s[1]
		shape := fmt.Sprintf("T=%d C=%d", T, C)
		cases = append(cases, Case{Op: "pack_bf16", Shape: shape, Run: func(b *Bench) {
			values := mixedFloats(b, T*C)
			x := b.Input("x", gpu.F32, T, C, values)
			// Codes are compared as numbers: exact.
			words := b.OutputWords(Words{
				Name: "y", Rows: 1, Cols: T * C / 2, Initial: fillWords(T * C / 2), Decode: decodeCodes(T * C),
				Want: codes(reference.PackBF16(values)), Allowance: 1e-20,
			})
			y := as(words, gpu.BF16, T, C)
			b.Record(func() { kernels.PackBF16(b.Rec, y, x) })
		}}, Case{Op: "unpack_bf16", Shape: shape, Run: func(b *Bench) {
			packed := reference.PackBF16(mixedFloats(b, T*C))
			words, want := make([]uint32, T*C/2), make([]float64, T*C)
			for i, code := range packed {
				words[i/2] |= uint32(code) << (16 * (i % 2))
				want[i] = float64(uint32(code) << 16)
			}
			x := as(b.InputU32("x", words), gpu.BF16, T, C)
			// The bits of the floats as numbers: exact.
			words32 := b.OutputWords(Words{
				Name: "y", Rows: 1, Cols: T * C, Initial: fillWords(T * C), Decode: decodeWords(T * C), Want: want, Allowance: 1e-20,
			})
			y := as(words32, gpu.F32, T, C)
			b.Record(func() { kernels.UnpackBF16(b.Rec, y, x) })
		}})
	}
	return cases
}

// mixedFloats are n values, every third of them special.
func mixedFloats(b *Bench, n int) []float32 {
	values := b.Values(n, 1)
	for i := 0; i < n; i += 3 {
		values[i] = math.Float32frombits(specialFloats[i/3%len(specialFloats)])
	}
	return values
}

// as is a tensor's memory as another type and shape.
func as(t *gpu.Tensor, dtype gpu.DType, rows, cols int) *gpu.Tensor {
	return &gpu.Tensor{Name: t.Name, DType: dtype, Rows: rows, Cols: cols, Shards: []gpu.Shard{{Range: t.Single(), Rows: rows}}}
}

// fillWords are n words that no result looks like.
func fillWords(n int) []uint32 {
	words := make([]uint32, n)
	for i := range words {
		words[i] = 0xdeadbeef
	}
	return words
}

func codes(packed []uint16) []float64 {
	out := make([]float64, len(packed))
	for i, c := range packed {
		out[i] = float64(c)
	}
	return out
}

func decodeCodes(n int) func(data []byte) []float64 {
	return func(data []byte) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = float64(binary.LittleEndian.Uint16(data[2*i:]))
		}
		return out
	}
}

func decodeWords(n int) func(data []byte) []float64 {
	return func(data []byte) []float64 {
		out := make([]float64, n)
		for i := range out {
			out[i] = float64(binary.LittleEndian.Uint32(data[4*i:]))
		}
		return out
	}
}
