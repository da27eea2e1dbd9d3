package reference

import "math"

// DropoutKeep decides over one element from a counter alone, so that any kernel can redo the mask in any order: keep
// when the upper 24 bits of pcg(pcg(index ^ pcg(key0)) ^ key1) are at least the threshold. All arithmetic is u32. The
// inner hash of key0 is there because keys count up (step, layer): without it neighbouring keys would give the same
// mask with neighbouring elements exchanged.
func DropoutKeep(key0, key1, index, threshold uint32) bool {
	return pcg(pcg(index^pcg(key0))^key1)>>8 >= threshold
}

// DropoutThreshold turns the probability of dropping, 0 <= p < 1, into DropoutKeep's threshold: ceil(p * 2^24).
func DropoutThreshold(p float64) uint32 { return uint32(math.Ceil(p * (1 << 24))) }

// pcg is the 32-bit hash RXS-M-XS of the PCG family.
//
// Source: Hash Functions for GPU Rendering (Jarzynski and Olano, JCGT 9(3), 2020).
func pcg(v uint32) uint32 {
	state := v*747796405 + 2891336453
	word := ((state >> (state>>28 + 4)) ^ state) * 277803737
	return word>>22 ^ word
}

// Dropout: mask[i] = 1/(1-p) where DropoutKeep holds for i, else 0; y = mask * x.
func Dropout(x []float64, key0, key1 uint32, p float64) (y, mask []float64) {
	mask = make([]float64, len(x))
	threshold := DropoutThreshold(p)
	for i := range mask {
		if DropoutKeep(key0, key1, uint32(i), threshold) {
			mask[i] = 1 / (1 - p)
		}
	}
	return masked(x, mask), mask
}
