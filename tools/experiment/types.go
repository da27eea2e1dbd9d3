//go:build !js

package main

import (
	"fmt"
	"math"
	"slices"

	"qlora-wgpu/doublequant"
	"qlora-wgpu/nf4"
)

// dataType is a 4-bit data type: what its codes stand for, before a block's absmax.
type dataType struct {
	Name       string
	values     []float32   // ascending, from -1 to 1; at most 16
	thresholds [15]float32 // float32 midpoints between neighbours; infinity behind the last
}

func newType(name string, values ...float32) *dataType {
	slices.Sort(values)
	t := &dataType{Name: name, values: slices.Compact(values)}
	for i := range t.thresholds {
		t.thresholds[i] = float32(math.Inf(1))
		if i+1 < len(t.values) {
			t.thresholds[i] = (t.values[i] + t.values[i+1]) / 2
		}
	}
	return t
}

// signed adds the negatives of magnitudes, all over the largest of them. Of both zeros one is left.
func signed(largest float64, magnitudes ...float64) (values []float32) {
	for _, m := range magnitudes {
		values = append(values, float32(m/largest))
		if m != 0 {
			values = append(values, float32(-m/largest))
		}
	}
	return values
}

// The types that are compared. FP4 is bitsandbytes': E2M1 with 1/192 in place of the subnormal 1/12 (get_4bit_type).
// E2M1 and E3M0 are the floats with so many bits of exponent and mantissa, with subnormals and without infinities. Int4
// is the paper's equation 1 with 7 for 127, which bitsandbytes' table has too: 15 evenly spaced values.
var (
	typeNF4  = newType("NF4", nf4.Codebook[:]...)
	typeFP4  = newType("FP4", signed(12, 0, 0.0625, 2, 3, 4, 6, 8, 12)...)
	typeE2M1 = newType("E2M1", signed(6, 0, 0.5, 1, 1.5, 2, 3, 4, 6)...)
	typeE3M0 = newType("E3M0", signed(64, 0, 1, 2, 4, 8, 16, 32, 64)...)
	typeInt4 = newType("Int4", signed(7, 0, 1, 2, 3, 4, 5, 6, 7)...)
	types    = []*dataType{typeNF4, typeFP4, typeE2M1, typeE3M0, typeInt4}
)

// code is the index of the value nearest to v, the lower one at a midpoint: how many thresholds lie below v.
func (t *dataType) code(v float32) int {
	i := 0
	if v > t.thresholds[7] {
		i = 8
	}
	if v > t.thresholds[i+3] {
		i += 4
	}
	if v > t.thresholds[i+1] {
		i += 2
	}
	if v > t.thresholds[i] {
		i++
	}
	return i
}

// format is a way to keep a matrix in 4 bits.
type format struct {
	*dataType
	block  int  // weights that share an absmax
	double bool // absmax in 8 bits, by package doublequant; else in float32
}

func (f format) String() string {
	if f.double {
		return fmt.Sprintf("%s, blocks of %d, double quantization", f.Name, f.block)
	}
	return fmt.Sprintf("%s, blocks of %d", f.Name, f.block)
}

// bits are those of a parameter: 4 of its code, and its part of the absmax and of the nested absmax. What a tensor has
// once, the mean of its absmax, is left out, as in the paper.
func (f format) bits() float64 {
	block := float64(f.block)
	if f.double {
		return 4 + 8/block + 32/(doublequant.BlockSize*block)
	}
	return 4 + 32/block
}

// roundTrip is what quantizing a matrix and taking it back leaves of it: blocks run over rows, as in package nf4, whose
// arithmetic this is for any values of the codes.
func (f format) roundTrip(x []float32) []float32 {
	codes, absmax := make([]uint8, len(x)), make([]float32, nf4.Blocks(len(x), f.block))
	for b := range absmax {
		first, end := b*f.block, min((b+1)*f.block, len(x))
		largest := float32(0)
		for _, v := range x[first:end] {
			largest = max(largest, float32(math.Abs(float64(v))))
		}
		absmax[b] = largest
		inverse := 1 / largest
		if math.IsInf(float64(inverse), 0) {
			inverse = 0 // all codes are those of zero
		}
		for i, v := range x[first:end] {
			codes[first+i] = uint8(f.code(v * inverse))
		}
	}
	if f.double {
		state := doublequant.Quantize(absmax)
		state.Dequantize(absmax)
	}
	out := make([]float32, len(x))
	for i, code := range codes {
		out[i] = f.values[code] * absmax[i/f.block]
	}
	return out
}
