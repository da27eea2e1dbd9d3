//go:build !js

package parquet

import (
	"encoding/binary"
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"math"
	"math/big"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"
)

var errNoUTF8 = errors.New("invalid UTF-8")

// append adds a leaf's value as JSON, as Python's pyarrow would give it: numbers, with what a decimal has behind its
// point; times in ISO 8601; bytes that are no text as an object that tells how many there are.
func (n *node) append(out []byte, v value) ([]byte, error) {
	switch n.element.Type.V {
	case format.Boolean:
		return strconv.AppendBool(out, v.bits != 0), nil
	case format.Int32, format.Int64:
		return n.appendInt(out, int64(v.bits))
	case format.Float, format.Double:
		return appendFloat(out, math.Float64frombits(v.bits)), nil
	case format.Int96:
		return appendTime(out, int96(v.bytes), true, time.RFC3339Nano), nil
	}
	data := v.bytes
	switch l := n.element.LogicalType.Value.(type) {
	case *format.DecimalType:
		return appendDecimal(out, signed(data), l.Scale)
	case *format.UUIDType:
		if len(data) == 16 {
			return fmt.Appendf(out, `"%x-%x-%x-%x-%x"`, data[:4], data[4:6], data[6:8], data[8:10], data[10:]), nil
		}
	case *format.Float16Type:
		if len(data) == 2 {
			return appendFloat(out, float16(binary.LittleEndian.Uint16(data))), nil
		}
	case *format.StringType, *format.EnumType, *format.JsonType:
		return appendText(out, data)
	}
	switch {
	case n.converted(deprecated.Decimal):
		return appendDecimal(out, signed(data), n.element.Scale.V)
	case n.converted(deprecated.UTF8), n.converted(deprecated.Enum), n.converted(deprecated.Json):
		return appendText(out, data)
	case n.element.Type.V == format.ByteArray && utf8.Valid(data):
		return appendText(out, data) // some programs write texts as bytes
	}
	return fmt.Appendf(out, `{"bytes":%d}`, len(data)), nil
}

func appendText(out, text []byte) ([]byte, error) {
	out, err := jsontext.AppendQuote(out, text)
	if err != nil {
		return out, errNoUTF8
	}
	return out, nil
}

// appendFloat writes null for what is no number.
func appendFloat(out []byte, v float64) []byte {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return append(out, "null"...)
	}
	return strconv.AppendFloat(out, v, 'g', -1, 64)
}

func float16(bits uint16) float64 {
	exponent, fraction := int(bits>>10&31), float64(bits&1023)
	v := math.Ldexp(1+fraction/1024, exponent-15)
	switch {
	case exponent == 0:
		v = math.Ldexp(fraction/1024, -14)
	case exponent == 31:
		v = math.Inf(1) // or no number: null, either
	}
	if bits>>15 != 0 {
		return -v
	}
	return v
}

func (n *node) appendInt(out []byte, v int64) ([]byte, error) {
	const day = "2006-01-02"
	unsigned := func() []byte {
		if n.element.Type.V == format.Int32 {
			return strconv.AppendUint(out, uint64(uint32(v)), 10)
		}
		return strconv.AppendUint(out, uint64(v), 10)
	}
	switch l := n.element.LogicalType.Value.(type) {
	case *format.DecimalType:
		return appendDecimal(out, big.NewInt(v), l.Scale)
	case *format.DateType:
		return appendTime(out, time.Unix(v*86400, 0), false, day), nil
	case *format.TimeType:
		return appendTime(out, instant(v, l.Unit), false, "15:04:05.999999999"), nil
	case *format.TimestampType:
		return appendTime(out, instant(v, l.Unit), l.IsAdjustedToUTC, time.RFC3339Nano), nil
	case *format.IntType:
		if !l.IsSigned {
			return unsigned(), nil
		}
	}
	if c := n.element.ConvertedType; c.Valid {
		switch c.V {
		case deprecated.Decimal:
			return appendDecimal(out, big.NewInt(v), n.element.Scale.V)
		case deprecated.Date:
			return appendTime(out, time.Unix(v*86400, 0), false, day), nil
		case deprecated.TimestampMillis:
			return appendTime(out, time.UnixMilli(v), true, time.RFC3339Nano), nil
		case deprecated.TimestampMicros:
			return appendTime(out, time.UnixMicro(v), true, time.RFC3339Nano), nil
		case deprecated.Uint8, deprecated.Uint16, deprecated.Uint32, deprecated.Uint64:
			return unsigned(), nil
		}
	}
	return strconv.AppendInt(out, v, 10), nil
}

func instant(v int64, unit format.TimeUnit) time.Time {
	switch unit.Value.(type) {
	case *format.MilliSeconds:
		return time.UnixMilli(v)
	case *format.MicroSeconds:
		return time.UnixMicro(v)
	}
	return time.Unix(v/1e9, v%1e9)
}

// int96 is how times were written before there were timestamps: nanoseconds of a day, and its Julian number.
func int96(v []byte) time.Time {
	const epoch = 2_440_588
	nanos := int64(binary.LittleEndian.Uint64(v))
	return time.Unix((int64(binary.LittleEndian.Uint32(v[8:]))-epoch)*86400+nanos/1e9, nanos%1e9)
}

func appendTime(out []byte, t time.Time, zone bool, layout string) []byte {
	if layout == time.RFC3339Nano && !zone {
		layout = "2006-01-02T15:04:05.999999999"
	}
	return append(t.UTC().AppendFormat(append(out, '"'), layout), '"')
}

// signed is an integer in two's complement, its greatest byte first.
func signed(data []byte) *big.Int {
	v := new(big.Int).SetBytes(data)
	if len(data) > 0 && data[0]&0x80 != 0 {
		v.Sub(v, new(big.Int).Lsh(big.NewInt(1), uint(8*len(data))))
	}
	return v
}

func appendDecimal(out []byte, v *big.Int, scale int32) ([]byte, error) {
	const most = 100 // digits; a decimal of 32 bytes has 76
	if scale < 0 || scale > most || v.BitLen() > 4*most {
		return out, fmt.Errorf("a decimal of %d bits with %d digits behind its point", v.BitLen(), scale)
	}
	digits := v.Text(10)
	sign := ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	for len(digits) <= int(scale) {
		digits = "0" + digits
	}
	out = append(out, sign+digits[:len(digits)-int(scale)]...)
	if scale > 0 {
		out = append(out, "."+digits[len(digits)-int(scale):]...)
	}
	return out, nil
}
