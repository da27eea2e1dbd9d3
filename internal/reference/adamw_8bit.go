package reference

import (
	"math"

	"qlora-wgpu/doublequant"
)

// moments8Block is how many elements share an absmax.
const moments8Block = 256

// Moments8 are AdamW's moments in 8 bits: a code into bitsandbytes' dynamic map an element (signed for the first
// moment, unsigned for the second), and the largest magnitude of every block of 256. Zero bytes are moments of zero.
type Moments8 struct {
	M, V               []byte    // [n]
	LargestM, LargestV []float64 // [ceil(n/256)]
}

// NewMoments8 are moments of zero for n elements.
func NewMoments8(n int) Moments8 {
	blocks := (n + moments8Block - 1) / moments8Block
	return Moments8{M: make([]byte, n), V: make([]byte, n), LargestM: make([]float64, blocks), LargestV: make([]float64, blocks)}
}

// Decode gives both moments as numbers.
func (s Moments8) Decode() (m, v []float64) {
	m, v = make([]float64, len(s.M)), make([]float64, len(s.M))
	for i := range m {
		m[i] = float64(doublequant.SignedMap[s.M[i]]) * s.LargestM[i/moments8Block]
		v[i] = float64(doublequant.UnsignedMap[s.V[i]]) * s.LargestV[i/moments8Block]
	}
	return m, v
}

// AdamW8bit updates param and the 8-bit moments in place; step counts from 1. The update takes the moments before they
// are rounded, and the decay comes after it:
//
//	m = beta1*m + (1-beta1)*grad
//	v = beta2*v + (1-beta2)*grad^2
//	param -= lr/(1-beta1^step) * m / (sqrt(v)/sqrt(1-beta2^step) + eps)
//	param *= 1 - lr*weight_decay
//	codes of m, v: nearest entry of the map to m/max|m|, v/max v of the block; a negative m that gets the entry of zero takes the one below
//
// Source: 8-bit Optimizers via Block-wise Quantization (arXiv 2110.02861); bitsandbytes'
// kOptimizerStatic8bit2StateBlockwise, but for -0, which stays 0.
func AdamW8bit(param, grad []float64, s Moments8, o AdamWSettings, step int) {
	wantLen("moments", len(s.M), len(param))
	m, v := s.Decode()
	decay := o.LearningRate * o.WeightDecay
	o.WeightDecay = 0
	AdamW(param, grad, m, v, o, step)
	for i := range param {
		param[i] *= 1 - decay
	}
	for b := range s.LargestM {
		first, end := b*moments8Block, min((b+1)*moments8Block, len(param))
		largestM, largestV := 0.0, 0.0
		for i := first; i < end; i++ {
			largestM, largestV = max(largestM, math.Abs(m[i])), max(largestV, v[i])
		}
		s.LargestM[b], s.LargestV[b] = largestM, largestV
		for i := first; i < end; i++ {
			s.M[i], s.V[i] = nearestEntry(&doublequant.SignedMap, m[i], largestM), nearestEntry(&doublequant.UnsignedMap, v[i], largestV)
			if m[i] < 0 && doublequant.SignedMap[s.M[i]] == 0 {
				s.M[i]--
			}
		}
	}
}

// nearestEntry is the code of x/largest; for a block of zeros that of zero. On an exact midpoint the entry at which a
// binary search from 127 in steps of 64, 32, …, 1 ends is kept.
func nearestEntry(entries *[256]float32, x, largest float64) byte {
	if largest == 0 {
		x, largest = 0, 1
	}
	x /= largest
	at, below, above := 127, 0, 255
	for step := 64; step > 0; step /= 2 {
		if x > float64(entries[at]) {
			below, at = at, at+step
		} else {
			above, at = at, at-step
		}
	}
	value := float64(entries[at])
	switch {
	case x > value && x > (value+float64(entries[above]))/2:
		return byte(above)
	case x <= value && x < (value+float64(entries[below]))/2:
		return byte(below)
	}
	return byte(at)
}
