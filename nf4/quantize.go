package nf4

import (
	"math"
	"runtime"

	"golang.org/x/sync/errgroup"
)

// A code is the number of thresholds below the scaled value v; a threshold is the float32 midpoint of two neighbouring
// codebook entries, and a tie takes the lower code. Instead of up to 15 comparisons, the interval [-1, 1] is cut into 4,096
// cells, of which 15 hold a threshold: in those the code is counted, in all others looked up. This is exact whatever cellOf's
// rounding does: cellOf never decreases, so a threshold in a lower cell is below v and one in a higher cell is above it.
//
// cells is indexed by cellOf. v can exceed 1 or fall below -1 by a rounding error: cell 4096 and, wrapped around, cell 8191.
var cells = buildCells()

// undecided marks a cell that holds a threshold.
const undecided = 16

func buildCells() (cells [8192]uint8) {
	const above, below = 4096, 8191
	for i := range cells {
		code := uint32(len(Codebook) - 1)
		switch {
		case i == below:
			code = 0
		case i < above:
			code = 0
			for int(code) < len(Codebook)-1 && cellOf(threshold(int(code))) < uint32(i) {
				code++
			}
			if int(code) < len(Codebook)-1 && cellOf(threshold(int(code))) == uint32(i) {
				code = undecided
			}
		}
		cells[i] = uint8(code)
	}
	return cells
}

// threshold is the midpoint above codebook entry i, in float32.
func threshold(i int) float32 { return (Codebook[i] + Codebook[i+1]) / 2 }

// cellOf maps [-1, 1] to 0…4096: v+3 lies in [2, 4], where all floats share an exponent and the leading twelve bits of the
// mantissa count steps of 1/2048; the last bit of the exponent tells 4 and what lies below 2.
func cellOf(v float32) uint32 { return math.Float32bits(v+3) >> 11 & 8191 }

// codeOf counts the thresholds below v.
func codeOf(v float32) uint32 {
	if c := cells[cellOf(v)]; c != undecided {
		return uint32(c)
	}
	code := uint32(0)
	for int(code) < len(Codebook)-1 && v > threshold(int(code)) {
		code++
	}
	return code
}

// Quantize packs x, taken as flat row-major blocks, into packed[PackedLen(len(x))] and absmax[Blocks(len(x), blockSize)].
//
// The scaled value is x*(1/absmax) in float32, a reciprocal multiply as in bitsandbytes. A block of zeros, or one so small
// that 1/absmax overflows (absmax < 2^-128), gets the code of zero throughout: it decodes to exactly 0 even when double
// quantization later moves its absmax a little (bitsandbytes' CUDA kernel gives code 0, its default backend this one). The
// unused low nibble after an odd number of weights holds the code of zero as well.
//
// A non-finite weight does not panic, but the codes of its block mean nothing: callers look for one with
// FirstNonFinite and report it as a user error.
func Quantize(x []float32, blockSize int, packed []byte, absmax []float32) {
	checkShapes("Quantize", len(x), blockSize, len(packed), len(absmax))
	for b := range absmax {
		first := b * blockSize
		block := x[first:min(first+blockSize, len(x))]
		absmax[b] = maxAbs(block)
		quantizeBlock(block, absmax[b], packed[first/2:])
	}
}

func quantizeBlock(x []float32, absmax float32, packed []byte) {
	inv := 1 / absmax
	if math.IsInf(float64(inv), 0) {
		inv = 0
	}
	packed = packed[:PackedLen(len(x))]
	pairs := len(x) / 2
	for i := range packed[:pairs] {
		pair := x[2*i : 2*i+2 : 2*i+2]
		u, v := float32(pair[0]*inv), float32(pair[1]*inv)
		first, second := cells[cellOf(u)], cells[cellOf(v)]
		if first|second >= undecided {
			first, second = uint8(codeOf(u)), uint8(codeOf(v))
		}
		packed[i] = first<<4 | second
	}
	if len(x)%2 != 0 {
		packed[pairs] = byte(codeOf(float32(x[len(x)-1]*inv))<<4 | zeroCode)
	}
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

// QuantizeParallel is Quantize on all cores, with identical bytes.
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
