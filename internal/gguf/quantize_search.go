package gguf

import "math"

// The searches of the K types for the scale, and the min, of a group of 16 or 32 elements.

// groupEpsilon is the magnitude below which a group is all zeros (GROUP_MAX_EPS).
const groupEpsilon = 1e-15

// nearest rounds to the nearest integer, to even between two, by the sum with 1.5·2^23 (nearest_int): what lies beyond
// ±2^22, infinities and NaN give ggml's arbitrary numbers too.
func nearest(v float32) int32 { return int32(math.Float32bits(v+12582912)&0x7fffff) - 0x400000 }

// affineSearch finds codes 0 to most, scale and min with x ≈ scale·code − min and min ≥ 0 (make_qkx2_quants): for each
// of steps+1 guesses of the scale, by which the range has most + first + step·i codes, it takes these, then the scale
// and min of least squares for them, and keeps the best, whose min further guesses start from. Errors count by
// weights ≥ 0: their squares, or with absolute their magnitudes.
func affineSearch(codes []uint8, x, weights []float32, most int32, first, step float32, steps int, absolute bool) (scale, minimum float32) {
	var trial [32]uint8
	n := len(x)
	codes, weights = codes[:n], weights[:n]
	least, greatest := x[0], x[0]
	sumW := weights[0]
	sumX := float32(sumW * x[0])
	for i := 1; i < n; i++ {
		if x[i] < least {
			least = x[i]
		}
		if x[i] > greatest {
			greatest = x[i]
		}
		sumW += weights[i]
		sumX += float32(weights[i] * x[i])
	}
	if least > 0 {
		least = 0
	}
	if greatest == least {
		clear(codes)
		return 0, -least
	}
	inverse := float32(most) / (greatest - least)
	scale = 1 / inverse
	for i, v := range x {
		codes[i] = uint8(max(0, min(most, nearest(float32(inverse*(v-least))))))
	}
	best := errorOf(codes, x, weights, scale, least, absolute, float32(math.Inf(1)))
	for i := range steps + 1 {
		inverse = (first + float32(step*float32(i)) + float32(most)) / (greatest - least)
		var sumL, sumLL, sumXL float32
		for i, v := range x {
			l := max(0, min(most, nearest(float32(inverse*(v-least)))))
			trial[i] = uint8(l)
			wl := float32(weights[i] * float32(l))
			sumL += wl
			sumLL += float32(wl * float32(l))
			sumXL += float32(wl * v)
		}
		determinant := float32(sumW*sumLL) - float32(sumL*sumL)
		if !(determinant > 0) {
			continue
		}
		itsScale := (float32(sumW*sumXL) - float32(sumX*sumL)) / determinant
		itsLeast := (float32(sumLL*sumX) - float32(sumL*sumXL)) / determinant
		if itsLeast > 0 {
			itsLeast, itsScale = 0, sumXL/sumLL
		}
		if e := errorOf(trial[:n], x, weights, itsScale, itsLeast, absolute, best); e < best {
			copy(codes, trial[:n])
			best, scale, least = e, itsScale, itsLeast
		}
	}
	return scale, -least
}

// errorOf sums up the weighted errors of scale·code + least. No term is negative, so it may end once limit is reached.
func errorOf(codes []uint8, x, weights []float32, scale, least float32, absolute bool, limit float32) (sum float32) {
	codes, weights = codes[:len(x)], weights[:len(x)]
	for i, v := range x {
		diff := float32(scale*float32(codes[i])) + least - v
		if absolute {
			diff = abs(diff)
		} else {
			diff = float32(diff * diff)
		}
		sum += float32(weights[i] * diff)
		if i&7 == 7 && sum >= limit {
			break
		}
	}
	return sum
}

// symmetricSearch finds codes 0 to 2·zero−1 and a scale with x ≈ scale·(code − zero), errors weighted by x²
// (make_qx_quants of rmse_type 1): it tries 19 scales around the one by which the value of largest magnitude becomes
// code 0, and keeps that of least error.
func symmetricSearch(codes *[16]int8, x *[16]float32, zero int32) (scale float32) {
	most, magnitude := largest(x[:])
	if magnitude < groupEpsilon {
		*codes = [16]int8{}
		return 0
	}
	try := func(inverse float32) (sumLX, sumLL float32) {
		for _, v := range x {
			l := float32(max(-zero, min(zero-1, nearest(float32(inverse*v)))))
			w := float32(v * v)
			sumLX += float32(float32(w*v) * l)
			sumLL += float32(float32(w*l) * l)
		}
		return sumLX, sumLL
	}
	take := func(inverse float32) {
		for i, v := range x {
			codes[i] = int8(zero + max(-zero, min(zero-1, nearest(float32(inverse*v)))))
		}
	}
	inverse := -float32(zero) / most
	take(inverse)
	sumLX, sumLL := try(inverse)
	if sumLL != 0 {
		scale = sumLX / sumLL
	}
	best := float32(scale * sumLX)
	for i := -9; i <= 9; i++ {
		if i == 0 {
			continue
		}
		inverse = -(float32(zero) + float32(float32(0.1)*float32(i))) / most
		sumLX, sumLL := try(inverse)
		if sumLL > 0 && float32(sumLX*sumLX) > float32(best*sumLL) {
			take(inverse)
			scale = sumLX / sumLL
			best = float32(scale * sumLX)
		}
	}
	return scale
}

// descent finds codes 0 to 7 and a scale with x ≈ scale·(code − 4), errors weighted by x² (make_q3_quants): from the
// codes by which the value of largest magnitude becomes code 0 it changes one after another to what suits the others
// better, up to five times through the group.
func descent(codes *[16]int8, x *[16]float32) (scale float32) {
	most, magnitude := largest(x[:])
	*codes = [16]int8{}
	if magnitude < groupEpsilon {
		return 0
	}
	inverse := -4 / most
	var sumLX, sumLL float32
	var cubes, squares [16]float32
	for i, v := range x {
		l := max(-4, min(3, nearest(float32(inverse*v))))
		codes[i] = int8(l)
		squares[i] = float32(v * v)
		cubes[i] = float32(squares[i] * v)
		sumLX += float32(cubes[i] * float32(l))
		sumLL += float32(float32(squares[i]*float32(l)) * float32(l))
	}
	for range 5 {
		changed := false
		for i, v := range x {
			l := float32(codes[i])
			lx := sumLX - float32(cubes[i]*l)
			if !(lx > 0) {
				continue
			}
			ll := sumLL - float32(float32(squares[i]*l)*l)
			other := max(-4, min(3, nearest(float32(v*ll)/lx)))
			if other == int32(codes[i]) {
				continue
			}
			lx += float32(cubes[i] * float32(other))
			ll += float32(float32(squares[i]*float32(other)) * float32(other))
			if ll > 0 && float32(float32(lx*lx)*sumLL) > float32(float32(sumLX*sumLX)*ll) {
				codes[i], sumLX, sumLL = int8(other), lx, ll
				changed = true
			}
		}
		if !changed {
			break
		}
	}
	for i := range codes {
		codes[i] += 4
	}
	if sumLL > 0 {
		scale = sumLX / sumLL
	}
	return scale
}
