package doublequant

import "slices"

// SignedMap and UnsignedMap are the ascending 8-bit dynamic maps: seven decades, each with its own linear fraction, so
// that the relative precision is best near 1 and small values are still represented. Zero is entry 127 of the signed
// map and entry 0 of the unsigned one.
//
// Source: 8-bit Optimizers via Block-wise Quantization (arXiv 2110.02861), section 1.3; bitsandbytes'
// create_dynamic_map.
var SignedMap, UnsignedMap = dynamicMap(true), dynamicMap(false)

func dynamicMap(signed bool) (entries [256]float32) {
	const decades = 7
	values := []float32{0, 1}
	for i := range decades {
		n := 1<<i + 1
		if !signed {
			n = 1<<(i+1) + 1
		}
		boundaries := linspace(n)
		for j := range boundaries[1:] {
			v := float32((boundaries[j]+boundaries[j+1])/2) * powersOfTen[i]
			values = append(values, v)
			if signed {
				values = append(values, -v)
			}
		}
	}
	slices.Sort(values)
	copy(entries[:], values)
	return entries
}

var powersOfTen = [...]float32{1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1}

// linspace is torch.linspace(0.1, 1, n) in float32: it counts from the nearer end, each entry one fused multiply-add.
// The product of a float32 and a small integer is exact in float64, so the float64 sum stands for the fused one.
func linspace(n int) []float32 {
	const start, end float32 = 0.1, 1
	step := (end - start) / float32(n-1)
	values := make([]float32, n)
	for i := range values {
		if i < n/2 {
			values[i] = float32(float64(step)*float64(i) + float64(start))
		} else {
			values[i] = float32(float64(end) - float64(step)*float64(n-1-i))
		}
	}
	return values
}
