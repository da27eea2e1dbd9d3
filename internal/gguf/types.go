package gguf

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Type is ggml's element type, by its number in the file.
type Type uint32

// The types that are read.
const (
	F32    Type = 0
	F16    Type = 1
	Q4_0   Type = 2
	Q4_1   Type = 3
	Q5_0   Type = 6
	Q5_1   Type = 7
	Q8_0   Type = 8
	Q2_K   Type = 10
	Q3_K   Type = 11
	Q4_K   Type = 12
	Q5_K   Type = 13
	Q6_K   Type = 14
	IQ4_NL Type = 20
	IQ4_XS Type = 23
	BF16   Type = 30
	MXFP4  Type = 39
)

// layout is how a type stores a row: blocks of a fixed number of elements. dequantize and quantize take any number of
// whole blocks; the latter is nil of a type that is not written.
type layout struct {
	elements, bytes int
	dequantize      func(dst []float32, src []byte)
	quantize        func(dst []byte, src []float32)
	float16s        []int   // offsets in a block that have to hold finite ones
	most            float32 // magnitude that is written, where the search beyond it overflows to finite ones; 0: none
}

var layouts = map[Type]layout{
	F32:    {1, 4, float32s, toFloat32s, nil, 0},
	F16:    {1, 2, float16s, toFloat16s, []int{0}, 0},
	BF16:   {1, 2, bfloat16s, toBfloat16s, nil, 0},
	Q4_0:   {32, 18, blocks(32, 18, q4_0), eachBlock(32, 18, toQ4_0), []int{0}, 0},
	Q4_1:   {32, 20, blocks(32, 20, q4_1), eachBlock(32, 20, toQ4_1), []int{0, 2}, 0},
	Q5_0:   {32, 22, blocks(32, 22, q5_0), eachBlock(32, 22, toQ5_0), []int{0}, 0},
	Q5_1:   {32, 24, blocks(32, 24, q5_1), eachBlock(32, 24, toQ5_1), []int{0, 2}, 0},
	Q8_0:   {32, 34, blocks(32, 34, q8_0), eachBlock(32, 34, toQ8_0), []int{0}, 0},
	IQ4_NL: {32, 18, blocks(32, 18, iq4nl), nil, nil, 0},
	MXFP4:  {32, 17, blocks(32, 17, mxfp4), nil, nil, 0},
	Q2_K:   {256, 84, blocks(256, 84, q2k), eachBlock(256, 84, toQ2K), []int{80, 82}, 0},
	Q3_K:   {256, 110, blocks(256, 110, q3k), eachBlock(256, 110, toQ3K), []int{108}, 65504 * 32 * 4},
	Q4_K:   {256, 144, blocks(256, 144, q4k), eachBlock(256, 144, toQ4K), []int{0, 2}, 0},
	Q5_K:   {256, 176, blocks(256, 176, q5k), eachBlock(256, 176, toQ5K), []int{0, 2}, 0},
	Q6_K:   {256, 210, blocks(256, 210, q6k), eachBlock(256, 210, toQ6K), []int{208}, 65504 * 128 * 32},
	IQ4_XS: {256, 136, blocks(256, 136, iq4xs), nil, nil, 0},
}

// names covers the types that are not read too, so that a message can say what a file holds (enum ggml_type in ggml.h).
var names = map[Type]string{
	F32: "F32", F16: "F16", BF16: "BF16", Q4_0: "Q4_0", Q4_1: "Q4_1", Q5_0: "Q5_0", Q5_1: "Q5_1", Q8_0: "Q8_0",
	Q2_K: "Q2_K", Q3_K: "Q3_K", Q4_K: "Q4_K", Q5_K: "Q5_K", Q6_K: "Q6_K", IQ4_NL: "IQ4_NL",
	IQ4_XS: "IQ4_XS", MXFP4: "MXFP4",
	4: "Q4_2", 5: "Q4_3", 9: "Q8_1", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 21: "IQ3_S",
	22: "IQ2_S", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 29: "IQ1_M", 31: "Q4_0_4_4",
	32: "Q4_0_4_8", 33: "Q4_0_8_8", 34: "TQ1_0", 35: "TQ2_0", 36: "IQ4_NL_4_4", 37: "IQ4_NL_4_8", 38: "IQ4_NL_8_8",
	40: "NVFP4", 41: "Q1_0",
}

// String is ggml's name of the type.
func (t Type) String() string {
	if name, ok := names[t]; ok {
		return name
	}
	return fmt.Sprintf("number %d", uint32(t))
}

// readTypes lists the types that are read, by their numbers.
func readTypes() string {
	var list []string
	for _, t := range slices.Sorted(maps.Keys(layouts)) {
		list = append(list, t.String())
	}
	return strings.Join(list, ", ")
}
