// Package doublequant quantizes the absmax values of NF4 blocks a second time, to 8 bits, and reads and writes
// the state in which bitsandbytes stores both levels. Everything is bit for bit as in bitsandbytes' CUDA kernels.
//
// With blocks of 64 weights this brings the cost of absmax down from 32/64 = 0.5 to 8/64 + 32/(64*256) = 0.127 bit per
// weight.
//
// Source: QLoRA (arXiv 2305.14314), section 3; bitsandbytes' quantize_4bit with compress_statistics.
package doublequant

import (
	"fmt"
	"math"
)

// BlockSize is the number of absmax values that share one nested absmax.
const BlockSize = 256

// State holds one tensor's quantized absmax values, of which there is one for each NF4 block.
type State struct {
	Codes  []byte    // [blocks], indices into SignedMap
	Nested []float32 // [ceil(blocks/256)], max|absmax - Offset| of 256 blocks
	Offset float32   // the mean of absmax, float32 of a float64 sum
}

// Nested is the number of nested absmax values for the absmax of so many blocks.
func Nested(blocks int) int { return (blocks + BlockSize - 1) / BlockSize }

// Quantize subtracts the mean, scales every 256 values by 1/max|x| in float32 and takes the nearest entry of SignedMap.
// absmax is [blocks] and must be finite: the codes of others mean nothing.
func Quantize(absmax []float32) State {
	s := State{Codes: make([]byte, len(absmax)), Nested: make([]float32, Nested(len(absmax)))}
	if len(absmax) == 0 {
		return s
	}
	sum := 0.0
	for _, a := range absmax {
		sum += float64(a)
	}
	s.Offset = float32(sum / float64(len(absmax)))
	for b := range s.Nested {
		first := b * BlockSize
		block := absmax[first:min(first+BlockSize, len(absmax))]
		largest := uint32(0) // as bits, which order as the magnitudes do
		for _, a := range block {
			largest = max(largest, math.Float32bits(a-s.Offset)&(1<<31-1))
		}
		s.Nested[b] = math.Float32frombits(largest)
		inv := 1 / s.Nested[b]
		codes := s.Codes[first : first+len(block)]
		for i, a := range block {
			codes[i] = nearest(float32((a - s.Offset) * inv))
		}
	}
	return s
}

// nearest is what search finds, with a table for all but its last step: the floats are cut into cells of equal sign,
// exponent and leading six bits of the mantissa, none of which holds more than one midpoint between neighbouring
// entries.
func nearest(x float32) byte {
	if x != x {
		return 0
	}
	code := lowest[math.Float32bits(x)>>cellShift]
	middle := midpoints[code]
	if x == middle {
		return ties[code]
	}
	above := byte(0)
	if x > middle {
		above = 1
	}
	return code + above
}

const cellShift = 17

var (
	midpoints [256]float32                // above each entry, in float32; infinity above the last
	ties      [256]byte                   // what search gives for exactly that
	lowest    [1 << (32 - cellShift)]byte // the code of each cell's lowest value, ties taken down
)

func init() {
	for i := range 255 {
		midpoints[i] = (SignedMap[i] + SignedMap[i+1]) / 2
		ties[i] = search(midpoints[i])
	}
	midpoints[255], ties[255] = float32(math.Inf(1)), 255
	for cell := range lowest {
		bits := uint32(cell) << cellShift
		if bits>>31 == 1 { // of a negative number the largest magnitude is the lowest value
			bits |= 1<<cellShift - 1
		}
		value := math.Float32frombits(bits)
		for value > midpoints[lowest[cell]] {
			lowest[cell]++
		}
	}
}

// search is the search of bitsandbytes' CUDA kernel over SignedMap. On an exact midpoint the entry where the search
// ended is kept, which may be either neighbour. A block whose values all equal the mean gives 0 * (1/0) = NaN: every
// comparison fails, the code is 0, and it decodes to the mean because the nested absmax is 0.
func search(x float32) byte {
	lowerIndex, pivot, upperIndex := 0, 127, 255
	lower, upper := SignedMap[lowerIndex], SignedMap[upperIndex]
	value := SignedMap[pivot]
	for step := 64; step > 0; step /= 2 {
		if x > value {
			lowerIndex, lower = pivot, value
			pivot += step
		} else {
			upperIndex, upper = pivot, value
			pivot -= step
		}
		value = SignedMap[pivot]
	}
	if x > value {
		if x > (upper+value)/2 {
			return byte(upperIndex)
		}
	} else if x < (lower+value)/2 {
		return byte(lowerIndex)
	}
	return byte(pivot)
}

// Dequantize restores absmax into dst[len(Codes)]: SignedMap[code] * nested absmax, rounded to float32, then + Offset.
// Another length, or a wrong number of nested absmax values, is a bug and panics.
func (s State) Dequantize(dst []float32) {
	if len(dst) != len(s.Codes) || len(s.Nested) != Nested(len(s.Codes)) {
		panic(fmt.Sprintf("doublequant: Dequantize: %d codes and %d nested absmax values into dst[%d]", len(s.Codes), len(s.Nested), len(dst)))
	}
	for i, code := range s.Codes {
		// The conversion rounds the product: without it the compiler may fuse product and sum, as on arm64.
		dst[i] = float32(SignedMap[code]*s.Nested[i/BlockSize]) + s.Offset
	}
}
