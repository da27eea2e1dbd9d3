package gguf

import (
	"encoding/binary"
	"math"
)

// Block layouts and the order of operations are those of ggml (ggml-quants.c, dequantize_row_*) and of its numpy twin
// in the gguf package. Each product is rounded to float32 before it is added: the conversion float32(d*q) keeps
// compilers from fusing the two, which would give other bits on some processors.

// blocks makes a function over whole rows from one over a block.
func blocks(elements, bytes int, one func(dst []float32, b []byte)) func(dst []float32, src []byte) {
	return func(dst []float32, src []byte) {
		for len(src) > 0 {
			one(dst[:elements], src[:bytes])
			dst, src = dst[elements:], src[bytes:]
		}
	}
}

func float32s(dst []float32, src []byte) {
	for ; len(dst) >= 2; dst, src = dst[2:], src[8:] {
		u := binary.LittleEndian.Uint64(src)
		dst[0], dst[1] = math.Float32frombits(uint32(u)), math.Float32frombits(uint32(u>>32))
	}
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}

func float16s(dst []float32, src []byte) {
	for ; len(dst) >= 4; dst, src = dst[4:], src[8:] {
		out, in := (*[4]float32)(dst), (*[8]byte)(src)
		out[0], out[1], out[2], out[3] = float16(in[0:]), float16(in[2:]), float16(in[4:]), float16(in[6:])
	}
	for i := range dst {
		dst[i] = float16(src[2*i:])
	}
}

func bfloat16s(dst []float32, src []byte) {
	for ; len(dst) >= 4; dst, src = dst[4:], src[8:] {
		out, u := (*[4]float32)(dst), binary.LittleEndian.Uint64(src)
		out[0], out[1] = math.Float32frombits(uint32(u)<<16), math.Float32frombits(uint32(u)&0xffff0000)
		out[2], out[3] = math.Float32frombits(uint32(u>>32)<<16), math.Float32frombits(uint32(u>>32)&0xffff0000)
	}
	for i := range dst {
		dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
	}
}

// float16 is the value of the IEEE 754 binary16 at the start of b.
func float16(b []byte) float32 {
	h := binary.LittleEndian.Uint16(b)
	bits := uint32(h&0x7fff) << 13
	if h&0x7c00 == 0x7c00 { // infinity or NaN
		bits |= 0x7f800000
	} else {
		// The exponent's bias goes from 15 to 127 by a multiplication, which also normalises subnormal numbers.
		bits = math.Float32bits(math.Float32frombits(bits) * 0x1p112)
	}
	return math.Float32frombits(bits | uint32(h&0x8000)<<16)
}

// q4_0: d f16, 16 bytes; the low nibbles are elements 0 to 15, the high ones 16 to 31; d·(q − 8).
func q4_0(dst []float32, b []byte) {
	d, qs, out := float16(b), (*[16]byte)(b[2:]), (*[32]float32)(dst)
	for i, q := range qs {
		out[i] = d * float32(int32(q&15)-8)
		out[i+16] = d * float32(int32(q>>4)-8)
	}
}

// q4_1: d f16, m f16, 16 bytes as in q4_0; d·q + m.
func q4_1(dst []float32, b []byte) {
	d, m, qs, out := float16(b), float16(b[2:]), (*[16]byte)(b[4:]), (*[32]float32)(dst)
	for i, q := range qs {
		out[i] = float32(d*float32(int32(q&15))) + m
		out[i+16] = float32(d*float32(int32(q>>4))) + m
	}
}

// q5_0: d f16, 32 fifth bits, 16 bytes as in q4_0; d·(q − 16).
func q5_0(dst []float32, b []byte) {
	d, high, qs, out := float16(b), binary.LittleEndian.Uint32(b[2:]), (*[16]byte)(b[6:]), (*[32]float32)(dst)
	for i, q := range qs {
		out[i] = d * float32(int32(q&15)|int32(high&1)<<4-16)
		out[i+16] = d * float32(int32(q>>4)|int32(high>>12&16)-16)
		high >>= 1
	}
}

// q5_1: d f16, m f16, 32 fifth bits, 16 bytes as in q4_0; d·q + m.
func q5_1(dst []float32, b []byte) {
	d, m, high, qs, out := float16(b), float16(b[2:]), binary.LittleEndian.Uint32(b[4:]), (*[16]byte)(b[8:]), (*[32]float32)(dst)
	for i, q := range qs {
		out[i] = float32(d*float32(int32(q&15)|int32(high&1)<<4)) + m
		out[i+16] = float32(d*float32(int32(q>>4)|int32(high>>12&16))) + m
		high >>= 1
	}
}

// q8_0: d f16, 32 signed bytes; d·q.
func q8_0(dst []float32, b []byte) {
	d, qs, out := float16(b), (*[32]byte)(b[2:]), (*[32]float32)(dst)
	for i, q := range qs {
		out[i] = float32(int32(int8(q))) * d
	}
}

var iq4nlValues = [16]float32{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

// iq4nl: as q4_0, with a table of 16 values instead of q − 8.
func iq4nl(dst []float32, b []byte) { scaled(dst, float16(b), &iq4nlValues, b[2:]) }

// scaled is d times the value of each of 32 codes in 16 bytes as in q4_0.
func scaled(dst []float32, d float32, values *[16]float32, codes []byte) {
	qs, out := (*[16]byte)(codes), (*[32]float32)(dst)
	for i, q := range qs {
		out[i] = d * values[q&15]
		out[i+16] = d * values[q>>4]
	}
}

// mxfp4Values are twice what E2M1 holds; minus zero is zero, as it is in ggml's table of integers.
var mxfp4Values = [16]float32{0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12}

// mxfp4: the exponent of a power of two as E8M0, 16 bytes as in q4_0; half of the power times the code's value. 255,
// which the format's definition calls NaN, is 2^127 in ggml.
func mxfp4(dst []float32, b []byte) {
	bits := uint32(1<<21) << (b[0] & 1) // 2^-128 and 2^-127 are subnormal
	if b[0] > 1 {
		bits = uint32(b[0]-1) << 23
	}
	scaled(dst, math.Float32frombits(bits), &mxfp4Values, b[1:])
}
