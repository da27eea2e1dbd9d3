//go:build !js

package parquet

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding"
	"github.com/parquet-go/parquet-go/encoding/bytestreamsplit"
	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/encoding/plain"
	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/format"
)

// page is a page of values, decoded.
type page struct {
	count                  int     // null among them
	repetition, definition []uint8 // by value; nil where the leaf has no such levels
	values                 *values
}

// values are those of a page that are not null, or of a dictionary: the slice of their type is set.
type values struct {
	booleans []byte // eight in each
	int32s   []int32
	int64s   []int64
	int96s   []deprecated.Int96
	floats   []float32
	doubles  []float64
	bytes    []byte
	offsets  []uint32 // of texts in bytes, and the end of the last one
	size     int      // of each in bytes, where all have the same
	places   []int32  // in the dictionary
	of       *values  // which it is
}

// encodings by their number; that of places in a dictionary is only for those.
var encodings = map[format.Encoding]encoding.Encoding{
	format.Plain: &plain.Encoding{}, format.RLE: &rle.Encoding{BitWidth: 1}, format.DeltaBinaryPacked: &delta.BinaryPackedEncoding{},
	format.DeltaLengthByteArray: &delta.LengthByteArrayEncoding{}, format.ByteStreamSplit: &bytestreamsplit.Encoding{},
}

// decode reads values of a leaf; those of a dictionary are places in it.
func decode(e *format.SchemaElement, code format.Encoding, data []byte, dictionary *values) (v *values, err error) {
	v = &values{}
	if code == plainDictionary || code == format.RLEDictionary {
		v.of = dictionary
		v.places, err = (&rle.DictionaryEncoding{}).DecodeInt32(nil, data)
		return v, err
	}
	with := encodings[code]
	if with == nil {
		return nil, fmt.Errorf("values encoded as %s", code)
	}
	switch e.Type.V {
	case format.Boolean:
		v.booleans, err = with.DecodeBoolean(nil, data)
	case format.Int32:
		v.int32s, err = with.DecodeInt32(nil, data)
	case format.Int64:
		v.int64s, err = with.DecodeInt64(nil, data)
	case format.Int96:
		v.int96s, err = with.DecodeInt96(nil, data)
	case format.Float:
		v.floats, err = with.DecodeFloat(nil, data)
	case format.Double:
		v.doubles, err = with.DecodeDouble(nil, data)
	case format.ByteArray:
		v.bytes, v.offsets, err = with.DecodeByteArray(nil, data, nil)
	case format.FixedLenByteArray:
		v.size = int(e.TypeLength.V)
		v.bytes, err = with.DecodeFixedLenByteArray(nil, data, v.size)
	default:
		err = fmt.Errorf("values of type %d", e.Type.V)
	}
	return v, err
}

// len is how many there are; of booleans the last byte may have fewer than it could.
func (v *values) len() int {
	n := len(v.int32s) + len(v.int64s) + len(v.int96s) + len(v.floats) + len(v.doubles) + len(v.places) + 8*len(v.booleans)
	if v.size > 0 {
		n += len(v.bytes) / v.size
	}
	return n + max(0, len(v.offsets)-1)
}

// at is the i-th; it panics where there is none.
func (v *values) at(i int) (one value) {
	switch {
	case v.of != nil:
		return v.of.at(int(v.places[i]))
	case v.booleans != nil:
		one.bits = uint64(v.booleans[i/8] >> (i % 8) & 1)
	case v.int32s != nil:
		one.bits = uint64(int64(v.int32s[i]))
	case v.int64s != nil:
		one.bits = uint64(v.int64s[i])
	case v.int96s != nil:
		for _, part := range v.int96s[i] {
			one.bytes = binary.LittleEndian.AppendUint32(one.bytes, part)
		}
	case v.floats != nil:
		one.bits = math.Float64bits(float64(v.floats[i]))
	case v.doubles != nil:
		one.bits = math.Float64bits(v.doubles[i])
	case v.size > 0:
		one.bytes = v.bytes[i*v.size : (i+1)*v.size]
	default:
		one.bytes = v.bytes[v.offsets[i]:v.offsets[i+1]]
	}
	return one
}

// levels reads as many as a page has values, of which none is above most; nil where most is 0.
func levels(data []byte, most, count int) ([]uint8, error) {
	if most == 0 {
		return nil, nil
	}
	all, err := (&rle.Encoding{BitWidth: bits.Len(uint(most))}).DecodeLevels(nil, data)
	if err != nil {
		return nil, err
	}
	if len(all) < count {
		return nil, fmt.Errorf("%d levels of %d values", len(all), count)
	}
	all = all[:count]
	for _, level := range all {
		if int(level) > most {
			return nil, errRuns
		}
	}
	return all, nil
}

// decodePage reads a page from its levels and its values.
func decodePage(leaf *node, count int, repetition, definition, data []byte, code format.Encoding, dictionary *values) (p *page, err error) {
	p = &page{count: count}
	if p.repetition, err = levels(repetition, leaf.repeats, count); err != nil {
		return nil, err
	}
	if p.definition, err = levels(definition, leaf.definition, count); err != nil {
		return nil, err
	}
	present := count
	for _, level := range p.definition {
		if int(level) < leaf.definition {
			present--
		}
	}
	if present == 0 {
		return p, nil
	}
	if p.values, err = decode(leaf.element, code, data, dictionary); err != nil {
		return nil, err
	}
	if n := p.values.len(); n < present {
		return nil, fmt.Errorf("a page of %d values has %d", present, n)
	}
	for _, place := range p.values.places[:min(present, len(p.values.places))] {
		if place < 0 || int(place) >= dictionary.len() {
			return nil, fmt.Errorf("place %d of a dictionary of %d", place, dictionary.len())
		}
	}
	return p, nil
}
