package gguf

import (
	"math"
)

// The K types: a search gives each group's scale (and min), these are rounded to small integers times the block's
// float16, and the codes are then taken again for what was rounded. dequantize_k.go has the layouts.

// toQ2K is quantize_row_q2_K_ref. Errors count by magnitude there, weighted by |x|.
func toQ2K(b []byte, x []float32) {
	var codes [256]uint8
	var scales, mins [16]float32
	for g := range 16 {
		var weights [16]float32
		group := x[16*g : 16*g+16]
		for i, v := range group {
			weights[i] = abs(v)
		}
		scales[g], mins[g] = affineSearch(codes[16*g:16*g+16], group, weights[:], 3, -0.5, 0.1, 15, true)
	}
	packed := (*[16]byte)(b)
	*packed = [16]byte{}
	d, dmin := b[80:], b[82:]
	for _, half := range []struct {
		values *[16]float32
		shift  int
		block  []byte
	}{{&scales, 0, d}, {&mins, 4, dmin}} {
		most := greatest(half.values[:])
		if !(most > 0) {
			putFloat16(half.block, 0)
			continue
		}
		inverse := 15 / most
		for g, v := range half.values {
			packed[g] |= uint8(nearest(float32(inverse*v)) << half.shift)
		}
		putFloat16(half.block, most/15)
	}
	for g, p := range packed {
		round(codes[16*g:16*g+16], x[16*g:], float16(d)*float32(p&15), float16(dmin)*float32(p>>4), 3)
	}
	pairs((*[64]byte)(b[16:]), &codes)
}

// toQ3K is quantize_row_q3_K_ref.
func toQ3K(b []byte, x []float32) {
	var codes [256]int8
	var scales [16]float32
	for g := range 16 {
		scales[g] = descent((*[16]int8)(codes[16*g:]), (*[16]float32)(x[16*g:]))
	}
	packed, d := (*[12]byte)(b[96:]), b[108:]
	*packed = [12]byte{}
	putFloat16(d, 0)
	var rounded [16]int8
	for g := range rounded {
		rounded[g] = -32
	}
	if most, _ := largest(scales[:]); most != 0 {
		inverse := -32 / most
		for g, v := range scales {
			rounded[g] = max(-32, min(31, int8(nearest(float32(inverse*v)))))
			l := uint8(rounded[g] + 32)
			packed[g%8] |= l & 15 << (g / 8 * 4)
			packed[8+g%4] |= l >> 4 << (g / 4 * 2)
		}
		putFloat16(d, 1/inverse)
	}
	for g, scale := range rounded {
		roundSigned((*[16]int8)(codes[16*g:]), x[16*g:], float16(d)*float32(scale), 4)
	}
	high := (*[32]byte)(b)
	*high = [32]byte{}
	var low [256]uint8
	for i, c := range codes {
		high[i%32] |= uint8(c) >> 2 << (i / 32)
		low[i] = uint8(c) & 3
	}
	pairs((*[64]byte)(b[32:]), &low)
}

// toQ4K is quantize_row_q4_K_ref.
func toQ4K(b []byte, x []float32) {
	var codes [256]uint8
	scalesAndMins(b, &codes, x, 15, -1, 20)
	for g := range 4 {
		qs := (*[32]byte)(b[16+32*g:])
		for i := range qs {
			qs[i] = codes[64*g+i] | codes[64*g+32+i]<<4
		}
	}
}

// toQ5K is quantize_row_q5_K_ref.
func toQ5K(b []byte, x []float32) {
	var codes [256]uint8
	scalesAndMins(b, &codes, x, 31, -0.5, 15)
	high := (*[32]byte)(b[16:])
	*high = [32]byte{}
	for g := range 4 {
		qs := (*[32]byte)(b[48+32*g:])
		for i := range qs {
			low, other := codes[64*g+i], codes[64*g+32+i]
			qs[i] = low&15 | other<<4
			high[i] |= low>>4<<(2*g) | other>>4<<(2*g+1)
		}
	}
}

// scalesAndMins writes the first 16 bytes of a block of Q4_K or Q5_K, and finds its codes.
func scalesAndMins(b []byte, codes *[256]uint8, x []float32, most int32, first float32, steps int) {
	var scales, mins [8]float32
	for g := range 8 {
		var weights [32]float32
		group := (*[32]float32)(x[32*g:])
		var squares float32
		for _, v := range group {
			squares += float32(v * v)
		}
		mean := float32(math.Sqrt(float64(squares / 32)))
		for i, v := range group {
			weights[i] = mean + abs(v)
		}
		scales[g], mins[g] = affineSearch(codes[32*g:32*g+32], group[:], weights[:], most, first, 0.1, steps, false)
	}
	mostScale, mostMin := greatest(scales[:]), greatest(mins[:])
	var inverseScale, inverseMin float32
	if mostScale > 0 {
		inverseScale = 63 / mostScale
	}
	if mostMin > 0 {
		inverseMin = 63 / mostMin
	}
	packed := (*[12]byte)(b[4:])
	for g := range 8 {
		scale := min(63, uint8(nearest(float32(inverseScale*scales[g]))))
		minimum := min(63, uint8(nearest(float32(inverseMin*mins[g]))))
		if g < 4 {
			packed[g], packed[g+4] = scale, minimum
			continue
		}
		packed[g+4] = scale&15 | minimum<<4
		packed[g-4] |= scale >> 4 << 6
		packed[g] |= minimum >> 4 << 6
	}
	putFloat16(b, mostScale/63)
	putFloat16(b[2:], mostMin/63)
	d, dmin := float16(b), float16(b[2:])
	for g := range 8 {
		scale, minimum := scaleMin(packed[:], g)
		round(codes[32*g:32*g+32], x[32*g:], d*scale, dmin*minimum, most)
	}
}

// toQ6K is quantize_row_q6_K_ref.
func toQ6K(b []byte, x []float32) {
	var codes [256]int8
	var scales [16]float32
	for g := range 16 {
		scales[g] = symmetricSearch((*[16]int8)(codes[16*g:]), (*[16]float32)(x[16*g:]), 32)
	}
	most, magnitude := largest(scales[:])
	if magnitude < groupEpsilon {
		clear(b)
		return
	}
	inverse := -128 / most
	putFloat16(b[208:], 1/inverse)
	d := float16(b[208:])
	for g, v := range scales {
		scale := int8(min(127, nearest(float32(inverse*v))))
		b[192+g] = byte(scale)
		roundSigned((*[16]int8)(codes[16*g:]), x[16*g:], d*float32(scale), 32)
	}
	for half := range 2 {
		c, low, high := (*[128]int8)(codes[128*half:]), (*[64]byte)(b[64*half:]), (*[32]byte)(b[128+32*half:])
		for i := range high {
			c0, c1, c2, c3 := uint8(c[i]), uint8(c[i+32]), uint8(c[i+64]), uint8(c[i+96])
			low[i], low[i+32] = c0&15|c2<<4, c1&15|c3<<4
			high[i] = c0>>4 | c1>>4<<2 | c2>>4<<4 | c3>>4<<6
		}
	}
}

// greatest is the greatest value above 0, else 0.
func greatest(x []float32) (most float32) {
	for _, v := range x {
		if v > most {
			most = v
		}
	}
	return most
}

// round takes codes again for d·code − dm; a group whose scale is 0 keeps those of the search.
func round(codes []uint8, x []float32, d, dm float32, most int32) {
	if d == 0 {
		return
	}
	x = x[:len(codes)]
	for i, v := range x {
		codes[i] = uint8(max(0, min(most, nearest((v+dm)/d))))
	}
}

// roundSigned is round for d·(code − zero).
func roundSigned(codes *[16]int8, x []float32, d float32, zero int32) {
	if d == 0 {
		return
	}
	for i, v := range (*[16]float32)(x) {
		codes[i] = int8(zero + max(-zero, min(zero-1, nearest(v/d))))
	}
}

// pairs packs codes of two bits; the first 32 of 128 are the lowest bits of 32 bytes.
func pairs(dst *[64]byte, codes *[256]uint8) {
	for half := range 2 {
		c := (*[128]uint8)(codes[128*half:])
		for i := range 32 {
			dst[32*half+i] = c[i] | c[i+32]<<2 | c[i+64]<<4 | c[i+96]<<6
		}
	}
}
