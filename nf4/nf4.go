// Package nf4 packs weights into 4-bit NormalFloat codes and unpacks them, bit for bit as bitsandbytes does.
//
// A weight is cut into flat row-major blocks. A block keeps absmax = max|x| as float32, and of each value the index of
// the codebook entry nearest to x/absmax. Two codes share a byte, the first one in the high nibble.
//
// Source: QLoRA (arXiv 2305.14314), section 3 and appendix E; bitsandbytes' kernels for quantize_4bit and
// dequantize_4bit.
package nf4

import "fmt"

// Codebook holds the 16 values of a code: the quantiles of a normal distribution, scaled to [-1, 1], with an exact
// zero.
var Codebook = [16]float32{
	-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453,
	-0.28444138169288635, -0.18477343022823334, -0.09105003625154495, 0.0,
	0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
	0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
}

// zeroCode is the index of 0 in Codebook.
const zeroCode = 7

// ValidBlockSize reports whether n is a block size of the format: a power of two from 32 to 4096.
func ValidBlockSize(n int) bool {
	return n >= 32 && n <= 4096 && n&(n-1) == 0
}

// PackedLen is the number of bytes that hold n codes, two in each.
func PackedLen(n int) int { return n/2 + n%2 }

// Blocks is the number of blocks of blockSize weights, and so of absmax values, of n weights; the last block may be
// short.
func Blocks(n, blockSize int) int {
	blocks := n / blockSize
	if n%blockSize != 0 {
		blocks++
	}
	return blocks
}

// checkShapes panics when the buffers do not fit n weights: the caller computed a wrong size.
func checkShapes(op string, n, blockSize, packed, absmax int) {
	if !ValidBlockSize(blockSize) {
		panic(fmt.Sprintf("nf4: %s: block size %d is not a power of two from 32 to 4096", op, blockSize))
	}
	if packed != PackedLen(n) || absmax != Blocks(n, blockSize) {
		panic(fmt.Sprintf("nf4: %s: %d weights in blocks of %d need packed[%d] and absmax[%d], got packed[%d] and absmax[%d]",
			op, n, blockSize, PackedLen(n), Blocks(n, blockSize), packed, absmax))
	}
}
