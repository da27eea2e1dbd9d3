package gguf

import (
	"encoding/binary"
	"math"
)

// The types of 32 elements a block; dequantize.go has their layouts.

// reciprocal is 1/d, 0 of 0. It is infinite for a d so small that its float16 is 0: then ggml's codes, converted from
// infinities on x86, are 0, and so are ours.
func reciprocal(d float32) (r float32, finite bool) {
	if d == 0 {
		return 0, true
	}
	r = 1 / d
	return r, !math.IsInf(float64(r), 0)
}

// largest is the value of largest magnitude, the first of equals.
func largest(x []float32) (value, magnitude float32) {
	for _, v := range x {
		if a := abs(v); magnitude < a {
			value, magnitude = v, a
		}
	}
	return value, magnitude
}

// toQ4_0 is quantize_row_q4_0_ref: the value of largest magnitude becomes code 0, which is -8.
func toQ4_0(b []byte, x []float32) {
	var codes [32]uint8
	putFloat16(b, symmetric(&codes, (*[32]float32)(x), 8))
	nibbles((*[16]byte)(b[2:]), &codes)
}

// toQ5_0 is quantize_row_q5_0_ref, as toQ4_0 with -16.
func toQ5_0(b []byte, x []float32) {
	var codes [32]uint8
	putFloat16(b, symmetric(&codes, (*[32]float32)(x), 16))
	binary.LittleEndian.PutUint32(b[2:], fifthBits(&codes))
	nibbles((*[16]byte)(b[6:]), &codes)
}

// symmetric finds codes 0 to 2·zero−1, where zero stands for 0, and the scale.
func symmetric(codes *[32]uint8, x *[32]float32, zero float32) (scale float32) {
	most, _ := largest(x[:])
	scale = most / -zero
	if r, finite := reciprocal(scale); finite {
		for i, v := range x {
			codes[i] = uint8(min(int32(float32(v*r)+(zero+0.5)), int32(2*zero)-1))
		}
	}
	return scale
}

// toQ4_1 is quantize_row_q4_1_ref: codes 0 and 15 are the least and the greatest value.
func toQ4_1(b []byte, x []float32) {
	var codes [32]uint8
	d, least := affine(&codes, (*[32]float32)(x), 15)
	putFloat16(b, d)
	putFloat16(b[2:], least)
	nibbles((*[16]byte)(b[4:]), &codes)
}

// toQ5_1 is quantize_row_q5_1_ref, as toQ4_1 with 31.
func toQ5_1(b []byte, x []float32) {
	var codes [32]uint8
	d, least := affine(&codes, (*[32]float32)(x), 31)
	putFloat16(b, d)
	putFloat16(b[2:], least)
	binary.LittleEndian.PutUint32(b[4:], fifthBits(&codes))
	nibbles((*[16]byte)(b[8:]), &codes)
}

// affine finds codes 0 to most, the scale and the least value.
func affine(codes *[32]uint8, x *[32]float32, most float32) (scale, least float32) {
	least, greatest := float32(math.MaxFloat32), float32(-math.MaxFloat32)
	for _, v := range x {
		if v < least {
			least = v
		}
		if v > greatest {
			greatest = v
		}
	}
	scale = (greatest - least) / most
	if r, finite := reciprocal(scale); finite {
		for i, v := range x {
			codes[i] = uint8(min(int32(float32((v-least)*r)+0.5), int32(most)))
		}
	}
	return scale, least
}

// nibbles packs the low four bits of the codes, the first 16 of them into low nibbles.
func nibbles(dst *[16]byte, codes *[32]uint8) {
	for i := range dst {
		dst[i] = codes[i]&15 | codes[i+16]<<4
	}
}

func fifthBits(codes *[32]uint8) (bits uint32) {
	for i, c := range codes {
		bits |= uint32(c>>4&1) << i
	}
	return bits
}

// toQ8_0 is quantize_row_q8_0_ref: the largest magnitude becomes 127, halves are rounded away from zero.
func toQ8_0(b []byte, x []float32) {
	_, magnitude := largest(x)
	d := magnitude / 127
	putFloat16(b, d)
	r, finite := reciprocal(d)
	if !finite {
		clear(b[2:])
		return
	}
	qs := (*[32]byte)(b[2:])
	for i, v := range (*[32]float32)(x) {
		v = float32(v * r)
		q := int32(v)
		rest := v - float32(q)
		if rest >= 0.5 {
			q++
		} else if rest <= -0.5 {
			q--
		}
		qs[i] = byte(q)
	}
}
