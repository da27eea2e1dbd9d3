package nf4

import (
	"math"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// A code is the number of thresholds below the scaled value v; a threshold is the float32 midpoint of two neighbouring
// codebook entries, and a tie takes the lower code. Instead of up to 15 comparisons there is one: the interval [-1, 1]
// is cut into 128 cells, none of which holds two thresholds, and each knows how many lie in lower cells and its own.
// This is exact whatever cellOf's rounding does: cellOf never decreases, so a threshold in a lower cell is below v and
// one in a higher cell is above it.
//
// cells is indexed by cellOf. v can exceed 1 or fall below -1 by a rounding error: cell 128 and, wrapped around,
// cell 255.
var cells = buildCells()

type cell struct {
	code      uint32  // thresholds in lower cells
	threshold float32 // the cell's own, or infinity
}

func buildCells() (cells [256]cell) {
	const above, below = 128, 255
	for i := range cells {
		cells[i] = cell{uint32(len(Codebook) - 1), float32(math.Inf(1))}
		switch {
		case i == below:
			cells[i].code = 0
		case i < above:
			code := 0
			for code < len(Codebook)-1 && cellOf(threshold(code)) < uint32(i) {
				code++
			}
			cells[i].code = uint32(code)
			if code < len(Codebook)-1 && cellOf(threshold(code)) == uint32(i) {
				cells[i].threshold = threshold(code)
			}
		}
	}
	return cells
}

// threshold is the midpoint above codebook entry i, in float32.
func threshold(i int) float32 { return (Codebook[i] + Codebook[i+1]) / 2 }

// cellOf maps [-1, 1] to 0…128: v+3 lies in [2, 4], where all floats share an exponent and the leading seven bits of
// the mantissa count steps of 1/64; the last bit of the exponent tells 4 and what lies below 2.
func cellOf(v float32) uint32 { return math.Float32bits(v+3) >> 16 & 255 }

// codeOf counts the thresholds below v.
func codeOf(v float32) uint32 {
	c := &cells[cellOf(v)]
	above := uint32(0)
	if v > c.threshold {
		above = 1
	}
	return c.code + above
}

// Quantize packs x, taken as flat row-major blocks, into packed[PackedLen(len(x))] and absmax[Blocks(len(x),
// blockSize)]; other sizes are bugs and panic.
//
// The scaled value is x*(1/absmax) in float32, a reciprocal multiply as in bitsandbytes. A block of zeros, or one so
// small that 1/absmax overflows (absmax < 2^-128), gets the code of zero throughout: it decodes to exactly 0 even when
// double quantization later moves its absmax a little (bitsandbytes' CUDA kernel gives code 0, its default backend this
// one). The unused low nibble after an odd number of weights holds the code of zero as well.
//
// A non-finite weight does not panic, but the codes of its block mean nothing: callers look for one with
// FirstNonFinite and report it as a user error.
func Quantize(x []float32, blockSize int, packed []byte, absmax []float32) {
	checkShapes("Quantize", len(x), blockSize, len(packed), len(absmax))
	for b := quantizeBlocks(x, blockSize, packed, absmax); b < len(absmax); b++ {
		first := b * blockSize
		absmax[b] = quantizeBlock(x[first:min(first+blockSize, len(x))], packed[first/2:])
	}
}

// quantizeBlock writes a block's codes and returns its absmax.
func quantizeBlock(x []float32, packed []byte) (absmax float32) {
	absmax = maxAbs(x)
	inv := 1 / absmax
	if math.IsInf(float64(inv), 0) {
		inv = 0
	}
	packed = packed[:PackedLen(len(x))]
	pairs := len(x) / 2
	for i := range packed[:pairs] {
		pair := x[2*i : 2*i+2 : 2*i+2]
		packed[i] = byte(codeOf(float32(pair[0]*inv))<<4 | codeOf(float32(pair[1]*inv)))
	}
	if len(x)%2 != 0 {
		packed[pairs] = byte(codeOf(float32(x[len(x)-1]*inv))<<4 | zeroCode)
	}
	return absmax
}

// maxAbs compares floats without their sign bit as integers, which order the same way; four chains hide the latency.
func maxAbs(x []float32) float32 {
	const magnitude = 1<<31 - 1
	var a, b, c, d uint32
	for len(x) >= 4 {
		a = max(a, math.Float32bits(x[0])&magnitude)
		b = max(b, math.Float32bits(x[1])&magnitude)
		c = max(c, math.Float32bits(x[2])&magnitude)
		d = max(d, math.Float32bits(x[3])&magnitude)
		x = x[4:]
	}
	for _, v := range x {
		a = max(a, math.Float32bits(v)&magnitude)
	}
	return math.Float32frombits(max(a, b, c, d))
}

// QuantizeParallel is Quantize on all cores, with identical bytes and the same shapes.
func QuantizeParallel(x []float32, blockSize int, packed []byte, absmax []float32) {
	checkShapes("QuantizeParallel", len(x), blockSize, len(packed), len(absmax))
	const minBlocks = 1024 // below this a goroutine costs more than it saves
	workers := runtime.GOMAXPROCS(0)
	step := max(minBlocks, (len(absmax)+workers-1)/workers)
	var group errgroup.Group
	for b := 0; b < len(absmax); b += step {
		last := min(b+step, len(absmax))
		from, to := b*blockSize, min(last*blockSize, len(x))
		group.Go(func() error {
			Quantize(x[from:to], blockSize, packed[from/2:PackedLen(to)], absmax[b:last])
			return nil
		})
	}
	_ = group.Wait() // the workers return no error
}

// FirstNonFinite is the index of the first NaN or infinity in x, or -1.
func FirstNonFinite(x []float32) int {
	const exponent = 0xff << 23
	for i, v := range x {
		if math.Float32bits(v)&exponent == exponent {
			return i
		}
	}
	return -1
}
