package gguf

import "encoding/binary"

// The K types, and IQ4_XS, hold 256 elements in groups of 16 or 32, each group with a small integer scale of its own.

// q2k: 16 bytes of (scale, min) nibbles per group of 16, 64 bytes of 2-bit codes, d f16, dmin f16; d·scale·q −
// dmin·min. A run of 32 bytes holds 128 elements: bits 0-1 are the first 32 of them, bits 2-3 the next 32, and so on.
func q2k(dst []float32, b []byte) {
	d, dmin := float16(b[80:]), float16(b[82:])
	for g, scale := range b[:16] {
		ds, dm := d*float32(scale&15), dmin*float32(scale>>4)
		qs, shift := (*[16]byte)(b[16+g/8*32+g%2*16:]), g%8/2*2
		out := (*[16]float32)(dst[16*g:])
		for i, q := range qs {
			out[i] = float32(ds*float32(int32(q>>(shift&7)&3))) - dm
		}
	}
}

// q3k: 32 bytes of third bits, 64 bytes of 2-bit codes as in q2k, 12 bytes of 6-bit scales, d f16; d·(scale − 32)·q,
// where q is the code, less 4 if the third bit is clear.
func q3k(dst []float32, b []byte) {
	packed, d := b[96:108], float16(b[108:])
	for g := range 16 {
		scale := int32(packed[g%8]>>(g/8*4)&15) | int32(packed[8+g%4]>>(g/4*2)&3)<<4
		ds := d * float32(scale-32)
		high, qs, shift := (*[16]byte)(b[g%2*16:]), (*[16]byte)(b[32+g/8*32+g%2*16:]), g%8/2*2
		out := (*[16]float32)(dst[16*g:])
		for i, q := range qs {
			out[i] = ds * float32(int32(q>>(shift&7)&3)+int32(high[i]>>(g/2&7)&1)<<2-4)
		}
	}
}

// scaleMin unpacks the 6-bit scale and min of group g of 8 from 12 bytes (get_scale_min_k4 in ggml).
func scaleMin(b []byte, g int) (scale, minimum float32) {
	if g < 4 {
		return float32(b[g] & 63), float32(b[g+4] & 63)
	}
	return float32(b[g+4]&15 | b[g-4]>>6<<4), float32(b[g+4]>>4 | b[g]>>6<<4)
}

// q4k: d f16, dmin f16, 12 bytes of 6-bit scales and mins per group of 32, 128 bytes; d·scale·q − dmin·min. A run of 32
// bytes holds 64 elements, the low nibbles first.
func q4k(dst []float32, b []byte) {
	d, dmin, packed, qs := float16(b), float16(b[2:]), b[4:16], b[16:144]
	for g := range 8 {
		scale, minimum := scaleMin(packed, g)
		ds, dm := d*scale, dmin*minimum
		out, shift := (*[32]float32)(dst[32*g:]), g%2*4
		for i, q := range (*[32]byte)(qs[g/2*32:]) {
			out[i] = float32(ds*float32(int32(q>>(shift&7)&15))) - dm
		}
	}
}

// q5k: as q4k, with 32 bytes of fifth bits before the codes; bit g of byte i belongs to element i of group g.
func q5k(dst []float32, b []byte) {
	d, dmin, packed, high, qs := float16(b), float16(b[2:]), b[4:16], (*[32]byte)(b[16:]), b[48:176]
	for g := range 8 {
		scale, minimum := scaleMin(packed, g)
		ds, dm := d*scale, dmin*minimum
		out, shift := (*[32]float32)(dst[32*g:]), g%2*4
		for i, q := range (*[32]byte)(qs[g/2*32:]) {
			out[i] = float32(ds*float32(int32(q>>(shift&7)&15|high[i]>>(g&7)&1<<4))) - dm
		}
	}
}

// q6k: 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 signed scales, d f16; d·scale·(q − 32). A run of 64
// bytes of nibbles holds 128 elements, the low nibbles first; a run of 32 bytes of pairs holds the same 128, lowest
// bits first.
func q6k(dst []float32, b []byte) {
	scales, d := (*[16]byte)(b[192:]), float16(b[208:])
	for g, scale := range scales {
		ds := d * float32(int32(int8(scale)))
		low, lowShift := (*[16]byte)(b[g/8*64+g%4*16:]), g%8/4*4
		high, highShift := (*[16]byte)(b[128+g/8*32+g%2*16:]), g%8/2*2
		out := (*[16]float32)(dst[16*g:])
		for i, q := range low {
			out[i] = ds * float32(int32(q>>(lowShift&7)&15)|int32(high[i]>>(highShift&7)&3)<<4-32)
		}
	}
}

// iq4xs: d f16, 8 bit pairs and 8 nibbles of the scales per group of 32, 128 bytes as in iq4nl; d·(scale − 32)·value.
func iq4xs(dst []float32, b []byte) {
	d, high := float16(b), binary.LittleEndian.Uint16(b[2:])
	for g := range 8 {
		scale := int32(b[4+g/2]>>(g%2*4)&15) | int32(high>>(2*g)&3)<<4
		scaled(dst[32*g:], d*float32(scale-32), &iq4nlValues, b[8+16*g:])
	}
}
