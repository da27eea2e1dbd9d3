package gguf

import (
	"encoding/binary"
	"math"
	"strings"
)

// The getters return ok = false where the key is absent, and a *usererr.Error of kind Format where the value has
// another type. Integers of every width and sign are one kind, so are floats of both widths.

// String is a string value.
func (f *File) String(key string) (s string, ok bool, err error) {
	v, ok, err := f.get(key, "a string", false, isString)
	if !ok || err != nil {
		return "", ok, err
	}
	return v.strings[0], true, nil
}

// Strings is an array of strings. The slice is shared: do not write to it.
func (f *File) Strings(key string) (s []string, ok bool, err error) {
	v, ok, err := f.get(key, "an array of strings", true, isString)
	return v.strings, ok, err
}

// Bool is a boolean value.
func (f *File) Bool(key string) (b, ok bool, err error) {
	v, ok, err := f.get(key, "a bool", false, func(k kind) bool { return k == kindBool })
	if !ok || err != nil {
		return false, ok, err
	}
	return v.raw[0] == 1, true, nil
}

// Int is an integer value. A uint64 above 2^63-1 is an error.
func (f *File) Int(key string) (n int64, ok bool, err error) {
	v, ok, err := f.get(key, "an integer", false, isInteger)
	if !ok || err != nil {
		return 0, ok, err
	}
	n, fits := v.integer(0)
	if !fits {
		return 0, true, bad(f.path, v.at, "%s is above 2^63-1", key)
	}
	return n, true, nil
}

// Ints is an array of integers.
func (f *File) Ints(key string) (n []int64, ok bool, err error) {
	v, ok, err := f.get(key, "an array of integers", true, isInteger)
	if !ok || err != nil {
		return nil, ok, err
	}
	n = make([]int64, len(v.raw)/int(kindSizes[v.kind]))
	for i := range n {
		var fits bool
		if n[i], fits = v.integer(i); !fits {
			return nil, true, bad(f.path, v.at, "element %d of %s is above 2^63-1", i, key)
		}
	}
	return n, true, nil
}

// Floats is an array of float32.
func (f *File) Floats(key string) (x []float32, ok bool, err error) {
	v, ok, err := f.get(key, "an array of float32", true, func(k kind) bool { return k == kindFloat32 })
	if !ok || err != nil {
		return nil, ok, err
	}
	x = make([]float32, len(v.raw)/4)
	for i := range x {
		x[i] = math.Float32frombits(binary.LittleEndian.Uint32(v.raw[4*i:]))
	}
	return x, true, nil
}

// Float is a float32 or float64 value.
func (f *File) Float(key string) (x float64, ok bool, err error) {
	v, ok, err := f.get(key, "a float", false, func(k kind) bool { return k == kindFloat32 || k == kindFloat64 })
	if !ok || err != nil {
		return 0, ok, err
	}
	if v.kind == kindFloat32 {
		return float64(math.Float32frombits(binary.LittleEndian.Uint32(v.raw))), true, nil
	}
	return math.Float64frombits(binary.LittleEndian.Uint64(v.raw)), true, nil
}

// Below is what stands below a prefix, by the rest of the keys: numbers as float64, bools, strings, and of arrays that
// they are there.
func (f *File) Below(prefix string) map[string]any {
	found := map[string]any{}
	for key, v := range f.metadata {
		rest, below := strings.CutPrefix(key, prefix)
		switch {
		case !below:
		case v.array:
			found[rest] = []any{}
		case isString(v.kind):
			found[rest] = v.strings[0]
		case v.kind == kindBool:
			found[rest] = v.raw[0] == 1
		case isInteger(v.kind):
			n, _ := v.integer(0)
			found[rest] = float64(n)
		default:
			found[rest], _, _ = f.Float(key)
		}
	}
	return found
}

// get finds a value and checks its type.
func (f *File) get(key, wanted string, array bool, is func(kind) bool) (value, bool, error) {
	v, ok := f.metadata[key]
	if !ok {
		return value{}, false, nil
	}
	if v.array != array || !is(v.kind) {
		found := v.kind.String()
		if v.array {
			found = "array of " + found
		}
		return value{}, true, bad(f.path, v.at, "%s has type %s, %s was wanted", key, found, wanted)
	}
	return v, true, nil
}

func isString(k kind) bool { return k == kindString }

func isInteger(k kind) bool {
	switch k {
	case kindUint8, kindInt8, kindUint16, kindInt16, kindUint32, kindInt32, kindUint64, kindInt64:
		return true
	}
	return false
}

// integer decodes element i; false where an int64 does not hold it.
func (v value) integer(i int) (int64, bool) {
	b := v.raw[i*int(kindSizes[v.kind]):]
	switch v.kind {
	case kindUint8:
		return int64(b[0]), true
	case kindInt8:
		return int64(int8(b[0])), true
	case kindUint16:
		return int64(binary.LittleEndian.Uint16(b)), true
	case kindInt16:
		return int64(int16(binary.LittleEndian.Uint16(b))), true
	case kindUint32:
		return int64(binary.LittleEndian.Uint32(b)), true
	case kindInt32:
		return int64(int32(binary.LittleEndian.Uint32(b))), true
	default: // 64 bits
		n := int64(binary.LittleEndian.Uint64(b))
		return n, n >= 0 || v.kind == kindInt64
	}
}
