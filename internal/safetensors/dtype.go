package safetensors

import (
	"encoding/binary"
	"math"
)

// DType is an element type as the header spells it.
type DType string

// The element types of the format. Packed ones below a byte (F4, F6_E2M3, F6_E3M2) are refused by name.
const (
	F64     DType = "F64"
	F32     DType = "F32"
	F16     DType = "F16"
	BF16    DType = "BF16"
	F8E4M3  DType = "F8_E4M3"
	F8E5M2  DType = "F8_E5M2"
	F8E8M0  DType = "F8_E8M0"
	I64     DType = "I64"
	I32     DType = "I32"
	I16     DType = "I16"
	I8      DType = "I8"
	U64     DType = "U64"
	U32     DType = "U32"
	U16     DType = "U16"
	U8      DType = "U8"
	Bool    DType = "BOOL"
	Complex DType = "C64"
)

var sizes = map[DType]int{
	F64: 8, F32: 4, F16: 2, BF16: 2, F8E4M3: 1, F8E5M2: 1, F8E8M0: 1,
	I64: 8, I32: 4, I16: 2, I8: 1, U64: 8, U32: 4, U16: 2, U8: 1, Bool: 1, Complex: 8,
}

// packed element types exist in the format and fill less than a byte.
var packed = map[DType]bool{"F4": true, "F6_E2M3": true, "F6_E3M2": true}

// Size is the number of bytes of one element, 0 for a type that this package does not read.
func (d DType) Size() int { return sizes[d] }

// toFloat32 holds, per element type, the conversion of len(dst) elements of src.
var toFloat32 = map[DType]func(dst []float32, src []byte){
	F64: func(dst []float32, src []byte) {
		for i := range dst {
			dst[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:])))
		}
	},
	F32: func(dst []float32, src []byte) {
		for ; len(dst) >= 2; dst, src = dst[2:], src[8:] {
			u := binary.LittleEndian.Uint64(src)
			dst[0], dst[1] = math.Float32frombits(uint32(u)), math.Float32frombits(uint32(u>>32))
		}
		for i := range dst {
			dst[i] = math.Float32frombits(binary.LittleEndian.Uint32(src[4*i:]))
		}
	},
	F16: func(dst []float32, src []byte) {
		for ; len(dst) >= 4; dst, src = dst[4:], src[8:] {
			out, u := (*[4]float32)(dst), binary.LittleEndian.Uint64(src)
			out[0], out[1], out[2], out[3] = float16(uint16(u)), float16(uint16(u>>16)), float16(uint16(u>>32)), float16(uint16(u>>48))
		}
		for i := range dst {
			dst[i] = float16(binary.LittleEndian.Uint16(src[2*i:]))
		}
	},
	BF16: func(dst []float32, src []byte) {
		for ; len(dst) >= 4; dst, src = dst[4:], src[8:] {
			out, u := (*[4]float32)(dst), binary.LittleEndian.Uint64(src)
			out[0], out[1] = math.Float32frombits(uint32(u)<<16), math.Float32frombits(uint32(u)&0xffff0000)
			out[2], out[3] = math.Float32frombits(uint32(u>>32)<<16), math.Float32frombits(uint32(u>>32)&0xffff0000)
		}
		for i := range dst {
			dst[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(src[2*i:])) << 16)
		}
	},
}

// float16 is the value of an IEEE 754 binary16.
func float16(h uint16) float32 {
	bits := uint32(h&0x7fff) << 13
	if h&0x7c00 == 0x7c00 { // infinity or NaN
		bits |= 0x7f800000
	} else {
		// The exponent's bias goes from 15 to 127 by a multiplication, which also normalises subnormal numbers.
		bits = math.Float32bits(math.Float32frombits(bits) * 0x1p112)
	}
	return math.Float32frombits(bits | uint32(h&0x8000)<<16)
}

// Float32Bytes is x as F32 data.
func Float32Bytes(x []float32) []byte {
	out := make([]byte, 0, 4*len(x))
	for _, v := range x {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(v))
	}
	return out
}

// BFloat16Bytes is x as BF16 data, rounded to nearest even. A NaN stays a NaN (made quiet), and what lies beyond the
// largest bfloat16 becomes an infinity.
func BFloat16Bytes(x []float32) []byte {
	out := make([]byte, 0, 2*len(x))
	for _, v := range x {
		bits := math.Float32bits(v)
		if v != v {
			bits |= 1 << 22
		} else {
			bits += 0x7fff + bits>>16&1
		}
		out = binary.LittleEndian.AppendUint16(out, uint16(bits>>16))
	}
	return out
}

// Float32s converts len(dst) elements of src, little endian, which are of a type of floats.
func (d DType) Float32s(dst []float32, src []byte) { toFloat32[d](dst, src) }

// Floats tells whether the type is one of floats that can be converted.
func (d DType) Floats() bool { return toFloat32[d] != nil }
