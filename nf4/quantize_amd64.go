package nf4

import (
	"math"

	"golang.org/x/sys/cpu"
)

// vectorTables is what quantizeAVX2 loads, at the places where it expects it.
type vectorTables struct {
	first     float32    // level 0 of the search: threshold 7
	second    [2]float32 // level 1: 3 and 11
	magnitude uint32     // all bits of a float but the sign
	third     [4]float32 // level 2: 1, 5, 9, 13, at minus their number modulo 4
	fourth    [8]float32 // level 3: 0, 2, … 14, at minus their number modulo 8
	pair      [4]uint8   // the weights of two codes in a byte
	infinity  float32
	one       float32
}

var forVectors = buildVectorTables()

func buildVectorTables() (t vectorTables) {
	t.first, t.second = threshold(7), [2]float32{threshold(3), threshold(11)}
	for i := range t.third {
		t.third[-i&3] = threshold(4*i + 1)
	}
	for i := range t.fourth {
		t.fourth[-i&7] = threshold(2 * i)
	}
	t.magnitude, t.pair, t.infinity, t.one = 1<<31-1, [4]uint8{16, 1, 16, 1}, float32(math.Inf(1)), 1
	return t
}

// quantizeAVX2 is quantizeBlock for one block or more, of a multiple of 32 weights each.
//
//go:noescape
func quantizeAVX2(x *float32, blocks, blockSize int, packed *byte, absmax *float32, with *vectorTables)

// quantizeBlocks quantizes the leading whole blocks as far as this processor has instructions for it, and returns their
// number.
func quantizeBlocks(x []float32, blockSize int, packed []byte, absmax []float32) int {
	blocks := len(x) / blockSize
	if !cpu.X86.HasAVX2 || blocks == 0 {
		return 0
	}
	_, _ = packed[blocks*blockSize/2-1], absmax[blocks-1] // the assembly has no bounds checks
	quantizeAVX2(&x[0], blocks, blockSize, &packed[0], &absmax[0], &forVectors)
	return blocks
}
