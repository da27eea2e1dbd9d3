package convert

import (
	"encoding/binary"
	"math"

	"qlora-wgpu/internal/safetensors"
)

// Type is an element type that weights are written in.
type Type string

// The types, by the names of --dtype.
const (
	F32  Type = "f32"
	F16  Type = "f16"
	BF16 Type = "bf16"
)

// stored are the types as safetensors spells them, and as config.json does.
var stored = map[Type]struct {
	dtype safetensors.DType
	torch string
}{F32: {safetensors.F32, "float32"}, F16: {safetensors.F16, "float16"}, BF16: {safetensors.BF16, "bfloat16"}}

func (t Type) size() int { return stored[t].dtype.Size() }

// largest is the largest finite value.
func (t Type) largest() float64 {
	switch t {
	case F16:
		return 65504
	case BF16:
		return float64(math.Float32frombits(0x7f7f0000))
	}
	return math.MaxFloat32
}

// put writes values, little endian, each rounded once. It gives the index of the first that is not finite or becomes
// infinite, -1 where there is none.
func (t Type) put(dst []byte, values []float64) (infinite int) {
	infinite = -1
	for i, v := range values {
		var isInfinite bool
		switch t {
		case F32:
			bits := math.Float32bits(float32(v))
			binary.LittleEndian.PutUint32(dst[4*i:], bits)
			isInfinite = bits&0x7f800000 == 0x7f800000
		case F16:
			bits := float16Bits(v)
			binary.LittleEndian.PutUint16(dst[2*i:], bits)
			isInfinite = bits&0x7c00 == 0x7c00
		case BF16:
			bits := bfloat16Bits(v)
			binary.LittleEndian.PutUint16(dst[2*i:], bits)
			isInfinite = bits&0x7f80 == 0x7f80
		}
		if isInfinite && infinite < 0 {
			infinite = i
		}
	}
	return infinite
}

// toOdd is v cut to float32, with the last bit set where something was cut off: rounding that to half of its bits or
// fewer gives what rounding v itself gives (S. Boldo and G. Melquiond, "Emulation of FMA and correctly rounded sums").
func toOdd(v float64) uint32 {
	x := float32(v)
	bits := math.Float32bits(x)
	if wide := float64(x); wide != v && v == v {
		if math.Abs(wide) > math.Abs(v) {
			bits-- // the next one towards zero; of an infinity the largest finite one
		}
		bits |= 1
	}
	return bits
}

// bfloat16Bits rounds to nearest even; a NaN stays one.
func bfloat16Bits(v float64) uint16 {
	bits := toOdd(v)
	if v != v {
		return uint16(bits>>16) | 1<<6
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

func toBFloat16(v float64) float32 { return math.Float32frombits(uint32(bfloat16Bits(v)) << 16) }

// float16Bits rounds to nearest even, also below the smallest normal number; a NaN stays one.
func float16Bits(v float64) uint16 {
	sign := uint16(math.Float64bits(v) >> 48 & 0x8000)
	switch v = math.Abs(v); {
	case v != v:
		return sign | 0x7e00
	case v < 0x1p-14: // steps of 2⁻²⁴, and the smallest normal number behind the last one
		return sign | uint16(math.RoundToEven(v*0x1p24))
	case v >= 65520: // from halfway between the largest and the next one on
		return sign | 0x7c00
	}
	bits := toOdd(v) - 112<<23 // the exponent's bias goes from 127 to 15
	return sign | uint16((bits+0xfff+bits>>13&1)>>13)
}
