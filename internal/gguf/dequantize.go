package gguf

import (
	"encoding/binary"
	"math"
)

// Block layouts and the order of operations are those of ggml (ggml-quants.c, dequantize_row_*) and of its numpy twin in the gguf
// package. Each product is rounded to float32 before it is added: the conversion float32(d*q) keeps compilers from fusing
// the two, which would give other bits on some processors.

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
	for i := range dst {
		dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
	}
}

func float16s(dst []float32, src []byte) {
	for i := range dst {
		dst[i] = float16(src[2*i:])
	}
}

func bfloat16s(dst []float32, src []byte) {
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
	d := float16(b)
	for i, q := range b[2:18] {
		dst[i] = d * float32(int(q&15)-8)
		dst[i+16] = d * float32(int(q>>4)-8)
	}
}

// q4_1: d f16, m f16, 16 bytes as in q4_0; d·q + m.
func q4_1(dst []float32, b []byte) {
	d, m := float16(b), float16(b[2:])
	for i, q := range b[4:20] {
		dst[i] = float32(d*float32(q&15)) + m
		dst[i+16] = float32(d*float32(q>>4)) + m
	}
}

// q5_0: d f16, 32 fifth bits, 16 bytes as in q4_0; d·(q − 16).
func q5_0(dst []float32, b []byte) {
	d, high := float16(b), binary.LittleEndian.Uint32(b[2:])
	for i, q := range b[6:22] {
		dst[i] = d * float32(int(q&15)|int(high>>i&1)<<4-16)
		dst[i+16] = d * float32(int(q>>4)|int(high>>(i+16)&1)<<4-16)
	}
}

// q5_1: d f16, m f16, 32 fifth bits, 16 bytes as in q4_0; d·q + m.
func q5_1(dst []float32, b []byte) {
	d, m, high := float16(b), float16(b[2:]), binary.LittleEndian.Uint32(b[4:])
	for i, q := range b[8:24] {
		dst[i] = float32(d*float32(uint32(q&15)|high>>i&1<<4)) + m
		dst[i+16] = float32(d*float32(uint32(q>>4)|high>>(i+16)&1<<4)) + m
	}
}

// q8_0: d f16, 32 signed bytes; d·q.
func q8_0(dst []float32, b []byte) {
	d := float16(b)
	for i, q := range b[2:34] {
		dst[i] = float32(int8(q)) * d
	}
}

var iq4nlValues = [16]float32{-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113}

// iq4nl: as q4_0, with a table of 16 values instead of q − 8.
func iq4nl(dst []float32, b []byte) {
	d := float16(b)
	for i, q := range b[2:18] {
		dst[i] = d * iq4nlValues[q&15]
		dst[i+16] = d * iq4nlValues[q>>4]
	}
}
