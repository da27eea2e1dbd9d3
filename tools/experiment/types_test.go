//go:build !js

package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/doublequant"
	"qlora-wgpu/nf4"
)

// quantiles are NF4 by the paper's section 3, as bitsandbytes' create_normal_map spaces them: of a normal distribution,
// 8 above zero and 7 below, and a zero.
func quantiles() (values []float64) {
	const offset = 0.9677083
	at := func(i, n int) float64 { // of n+1 evenly spaced probabilities from offset down to 1/2
		p := offset + (0.5-offset)*float64(i)/float64(n)
		return math.Sqrt2 * math.Erfinv(2*p-1)
	}
	values = append(values, 0)
	for i := range 8 {
		values = append(values, at(i, 8)/at(0, 8))
	}
	for i := range 7 {
		values = append(values, -at(i, 7)/at(0, 7))
	}
	return values
}

// floats are all numbers of a sign bit and so many of exponent and mantissa, without infinities, over the largest.
func floats(exponent, mantissa int) (values []float64) {
	largest := 0.0
	for code := range 1 << (exponent + mantissa) {
		e, fraction := code>>mantissa, float64(code&(1<<mantissa-1))/float64(int(1)<<mantissa)
		v := math.Ldexp(1+fraction, e)
		if e == 0 { // subnormal
			v = math.Ldexp(fraction, 1)
		}
		values = append(values, v, -v)
		largest = max(largest, v)
	}
	for i := range values {
		values[i] /= largest
	}
	return values
}

// Every type's values by another way to them.
func TestValues(t *testing.T) {
	twelfths := []float64{0, 0.0625, 8, 12, 4, 6, 2, 3} // bitsandbytes' FP4 in the order of its codes
	var fp4, int4 []float64
	for _, v := range twelfths {
		fp4 = append(fp4, v/12, -v/12)
	}
	for i := -7; i <= 7; i++ {
		int4 = append(int4, float64(i)/7)
	}
	for _, c := range []struct {
		of   *dataType
		want []float64
		n    int
	}{{typeNF4, quantiles(), 16}, {typeFP4, fp4, 15}, {typeE2M1, floats(2, 1), 15}, {typeE3M0, floats(3, 0), 15}, {typeInt4, int4, 15}} {
		slices.Sort(c.want)
		want := slices.CompactFunc(c.want, func(a, b float64) bool { return a == b })
		require.Len(t, c.of.values, c.n, c.of.Name)
		require.Len(t, want, c.n, c.of.Name)
		for i, v := range c.of.values {
			require.InDelta(t, want[i], v, 2e-7, "%s: %d", c.of.Name, i)
		}
	}
}

// A code is that of the nearest value, the lower one halfway between two.
func TestCode(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for _, d := range types {
		for i := range d.values[1:] {
			middle := (d.values[i] + d.values[i+1]) / 2
			require.Equal(t, i, d.code(middle), "%s", d.Name)
			require.Equal(t, i+1, d.code(math.Nextafter32(middle, 2)), "%s", d.Name)
			require.Equal(t, i, d.code(d.values[i]), "%s", d.Name)
		}
		require.Equal(t, len(d.values)-1, d.code(1))
		for range 10000 {
			v := 2*rng.Float32() - 1
			got := math.Abs(float64(d.values[d.code(v)] - v))
			for _, value := range d.values {
				require.LessOrEqual(t, got, math.Abs(float64(value-v))+1e-7, "%s of %v", d.Name, v)
			}
		}
	}
}

// gaussians are normal weights with blocks of zeros, tiny and huge ones among them, and a last block that is short.
func gaussians(n int) []float32 {
	rng := rand.New(rand.NewPCG(7, 0))
	x := make([]float32, n)
	for i := range x {
		x[i] = float32(rng.NormFloat64()) * []float32{1, 0.02, 0, 1e-30, 1e30}[i/4096%5]
	}
	return x
}

// With NF4's values a round trip is that of the packages which the engine is compared with, bit for bit.
func TestRoundTripIsNF4(t *testing.T) {
	x := gaussians(100_007)
	for _, f := range formatsOf(blocks, typeNF4) {
		packed, absmax := make([]byte, nf4.PackedLen(len(x))), make([]float32, nf4.Blocks(len(x), f.block))
		nf4.Quantize(x, f.block, packed, absmax)
		if f.double {
			state := doublequant.Quantize(absmax)
			state.Dequantize(absmax)
		}
		want := make([]float32, len(x))
		nf4.Dequantize(packed, absmax, f.block, want)
		require.Equal(t, want, f.roundTrip(x), "%v", f)
	}
}

// expected is the relative root mean square error on normal weights, by integration: over the largest magnitude of a
// block, of which all others are below it.
func expected(d *dataType, block int) float64 {
	density := func(x float64) float64 { return math.Exp(-x*x/2) / math.Sqrt(2*math.Pi) }
	within := func(x float64) float64 { return math.Erf(x / math.Sqrt2) }
	var total, mass float64
	for largest := 0.5; largest < 6.5; largest += 0.02 {
		weight := math.Pow(within(largest), float64(block-1)) * density(largest)
		if mass += weight; weight < 1e-9 {
			continue
		}
		var sum float64
		const steps = 1000
		for i := range steps {
			x := largest * (2*(float64(i)+0.5)/steps - 1)
			nearest := math.Inf(1)
			for _, v := range d.values {
				nearest = min(nearest, math.Abs(float64(v)*largest-x))
			}
			sum += nearest * nearest * density(x) * 2 * largest / steps
		}
		total += weight * sum / within(largest)
	}
	return math.Sqrt(total / mass * float64(block-1) / float64(block))
}

// The error on normal weights is the expected one for every type, and orders them: NF4 has the least. Each doubling of
// the blocks up to 512 adds to it (of E3M0, whose values are powers of two, not beyond); double quantization adds less
// than a thousandth of it.
func TestErrorOnNormals(t *testing.T) {
	formats := formatsOf(blocks, types...)
	sums, err := errorsOf(normals(1<<19), formats)
	require.NoError(t, err)
	got := map[string]float64{}
	for i, f := range formats {
		got[f.String()] = sums[i].relativeRMS()
		if f.double {
			single := sums[i-1].relativeRMS()
			require.NotEqual(t, single, sums[i].relativeRMS(), "%v", f)
			require.InEpsilon(t, single, sums[i].relativeRMS(), 1e-3, "%v", f)
		} else if f.block == 64 || f.block == 512 {
			require.InEpsilon(t, expected(f.dataType, f.block), sums[i].relativeRMS(), 4e-3, "%v", f)
		}
		if f.block > 64 && f.block <= 512 {
			require.Greater(t, sums[i].relativeRMS(), sums[i-2].relativeRMS(), "%v", f)
		}
	}
	at := func(d *dataType) float64 { return got[format{d, 64, false}.String()] }
	order := []float64{at(typeNF4), at(typeE2M1), at(typeInt4), at(typeFP4), at(typeE3M0)}
	require.True(t, slices.IsSorted(order) && order[0] > 0.09, "%v", order)
	// bitsandbytes' own test of blocks of 64: the mean of |q-w| over standard normals
	require.InDelta(t, 0.072798, sums[0].distant/float64(sums[0].n), 7*0.000074)
}

// What a parameter takes is what the arrays of the packages take.
func TestBits(t *testing.T) {
	const n = 4096 * doublequant.BlockSize * 3
	for _, f := range formatsOf(blocks, types...) {
		absmax := make([]float32, nf4.Blocks(n, f.block))
		state := doublequant.Quantize(absmax)
		taken := 8*nf4.PackedLen(n) + 32*len(absmax)
		if f.double {
			taken = 8*nf4.PackedLen(n) + 8*len(state.Codes) + 32*len(state.Nested)
		}
		require.Equal(t, float64(taken)/n, f.bits(), "%v", f)
	}
	require.Equal(t, "0.500 0.127 0.373", fmt.Sprintf("%.3f %.3f %.3f", format{typeNF4, 64, false}.bits()-4, qlora.bits()-4,
		format{typeNF4, 64, false}.bits()-qlora.bits()))
}

// A weight that is zero stays zero, and one that is as it was counts for no error.
func TestDeviation(t *testing.T) {
	d := deviationOf([]float32{3, -4, 0, 0}, []float32{3, -3, 0, 0})
	d.add(deviationOf([]float32{1, 1, 1, 1}, []float32{1, 1, 1, 0.5}))
	require.Equal(t, math.Sqrt(1.25/29), d.relativeRMS())
	require.Equal(t, 1.5/8/math.Sqrt(29.0/8), d.relativeMean())
}
