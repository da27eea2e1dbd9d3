package reference

import "math"

// PackBF16 gives the bf16 codes of x: of the two neighbours of the same sign the nearer one, halfway between them the
// one with an even code. Where that would lie beyond the largest bf16, its neighbour is infinity, as if it were 2^128
// (IEEE 754, 4.3.1). A NaN keeps its sign and the upper bits of its payload, and is quiet.
func PackBF16(x []float32) []uint16 {
	codes := make([]uint16, len(x))
	for i, v := range x {
		below := uint16(math.Float32bits(v) >> 16) // the neighbour towards zero
		switch magnitude := math.Abs(float64(v)); {
		case math.IsNaN(magnitude):
			codes[i] = below | 0x40
		case math.IsInf(magnitude, 0):
			codes[i] = below
		default:
			down, up := magnitude-bf16Magnitude(below), bf16Magnitude(below+1)-magnitude
			codes[i] = below
			if up < down || up == down && below%2 == 1 {
				codes[i]++
			}
		}
	}
	return codes
}

// bf16Magnitude is the code's value without its sign, 2^128 for infinity's.
func bf16Magnitude(code uint16) float64 {
	exponent, fraction := int(code>>7&0xff), float64(code&0x7f)/128
	if exponent == 0 {
		return math.Ldexp(fraction, -126)
	}
	return math.Ldexp(1+fraction, exponent-127)
}
