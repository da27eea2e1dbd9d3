package gguf

import (
	"encoding/binary"
	"fmt"
	"math"
)

// Quantization gives the bytes of ggml's reference (ggml_quantize_chunk without an importance matrix, which calls
// quantize_row_*_ref in ggml-quants.c): the same operations in the same order, each rounded to float32. The conversions
// float32(a*b) keep compilers from fusing a product with a sum, which would give other bytes on some processors.

// OutOfRange is the error of a value that a type does not hold: an infinity, no number, or one so large that the type's
// float16 scale, or the element, is infinite, which ggml writes and llama.cpp refuses, or that the sums of the search
// are, by which ggml makes zeros of it.
type OutOfRange struct {
	Index int // of the value among those given
	Value float32
	Type  Type
}

func (e *OutOfRange) Error() string {
	if e.Value-e.Value != 0 {
		return fmt.Sprintf("value %d is %v", e.Index, e.Value)
	}
	return fmt.Sprintf("value %d is %v, too large for %v", e.Index, e.Value, e.Type)
}

// CanQuantize tells whether the type can be written from float32.
func (t Type) CanQuantize() bool { return layouts[t].quantize != nil }

// Quantize writes src, any number of whole rows, as RowSize(len(src)) bytes of dst. The error is an *OutOfRange of the
// first such value. Another length of dst, a width that is no whole number of blocks, and a type that cannot be
// quantized are bugs and panic. It may be called concurrently.
func (t Type) Quantize(dst []byte, src []float32) error {
	l := layouts[t]
	if !t.CanQuantize() || len(dst) != t.RowSize(len(src)) {
		panic(fmt.Sprintf("gguf: %d elements as %v in %d bytes", len(src), t, len(dst)))
	}
	for i, v := range src {
		if v-v != 0 || l.most > 0 && abs(v) > l.most {
			return &OutOfRange{i, v, t}
		}
	}
	l.quantize(dst, src)
	for b := 0; b < len(dst); b += l.bytes {
		for _, at := range l.float16s {
			if dst[b+at+1]&0x7c == 0x7c {
				return t.tooLarge(src, b/l.bytes*l.elements)
			}
		}
		if t == BF16 && dst[b+1]&0x7f == 0x7f && dst[b]&0x80 != 0 {
			return t.tooLarge(src, b/l.bytes)
		}
	}
	return nil
}

// tooLarge names the value of largest magnitude in the block that begins at first.
func (t Type) tooLarge(src []float32, first int) error {
	at := first
	for i := range layouts[t].elements {
		if abs(src[first+i]) > abs(src[at]) {
			at = first + i
		}
	}
	return &OutOfRange{at, src[at], t}
}

// eachBlock makes a function over whole rows from one over a block.
func eachBlock(elements, bytes int, one func(b []byte, x []float32)) func(dst []byte, src []float32) {
	return func(dst []byte, src []float32) {
		for len(src) > 0 {
			one(dst[:bytes], src[:elements])
			dst, src = dst[bytes:], src[elements:]
		}
	}
}

func toFloat32s(dst []byte, src []float32) {
	for i, v := range src {
		binary.LittleEndian.PutUint32(dst[4*i:], math.Float32bits(v))
	}
}

func toFloat16s(dst []byte, src []float32) {
	for i, v := range src {
		binary.LittleEndian.PutUint16(dst[2*i:], toFloat16(v))
	}
}

func toBfloat16s(dst []byte, src []float32) {
	for i, v := range src {
		bits := math.Float32bits(v)
		binary.LittleEndian.PutUint16(dst[2*i:], uint16((bits+0x7fff+bits>>16&1)>>16))
	}
}

// toFloat16 rounds a number to the nearest IEEE 754 binary16, to even between two; beyond 65,504 to an infinity.
func toFloat16(v float32) uint16 {
	bits := math.Float32bits(v)
	sign, magnitude := uint16(bits>>16&0x8000), bits&0x7fffffff
	switch {
	case magnitude >= 0x477ff000: // the middle between 65,504 and 65,536
		return sign | 0x7c00
	case magnitude < 0x38800000: // subnormal: a sum with 0.5 has steps of 2^-24
		return sign | uint16(math.Float32bits(math.Float32frombits(magnitude)+0.5)-0x3f000000)
	}
	return sign | uint16((magnitude+0xfff+magnitude>>13&1)>>13-(127-15)<<10)
}

func putFloat16(b []byte, v float32) { binary.LittleEndian.PutUint16(b, toFloat16(v)) }

func abs(v float32) float32 { return math.Float32frombits(math.Float32bits(v) & 0x7fffffff) }
