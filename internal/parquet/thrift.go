//go:build !js

package parquet

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Kinds of values in Thrift's compact protocol.
const (
	thriftTrue   = 1
	thriftFalse  = 2
	thriftByte   = 3
	thriftI16    = 4
	thriftI32    = 5
	thriftI64    = 6
	thriftDouble = 7
	thriftBinary = 8
	thriftList   = 9
	thriftSet    = 10
	thriftMap    = 11
	thriftStruct = 12
	thriftUUID   = 13
)

var (
	errShort  = errors.New("it ends too soon")
	errThrift = errors.New("it is no Thrift")
	errLarge  = errors.New("it would take too much memory")
)

// Bytes that a description may take once it is read, and those of an element of a list: a file's list of a million
// empty structs has a million bytes.
const (
	maxDescribed = 512 << 20
	structBytes  = 512
	otherBytes   = 16
)

// checkThrift walks through a struct before the library reads it, which would make room for as many elements of a list
// as the list says it has, and gives the bytes that it takes.
func checkThrift(data []byte) (int, error) {
	w := thriftWalk{data: data}
	if err := w.value(thriftStruct, 0); err != nil {
		return 0, err
	}
	return w.at, nil
}

type thriftWalk struct {
	data     []byte
	at       int
	elements int // bytes of lists' elements, once they are read
}

func (w *thriftWalk) uvarint() (uint64, error) {
	v, n := binary.Uvarint(w.data[w.at:])
	switch {
	case n == 0:
		return 0, errShort
	case n < 0:
		return 0, errThrift
	}
	w.at += n
	return v, nil
}

func (w *thriftWalk) skip(n uint64) error {
	if n > uint64(len(w.data)-w.at) {
		return errShort
	}
	w.at += int(n)
	return nil
}

func (w *thriftWalk) byte() (byte, error) {
	if w.at >= len(w.data) {
		return 0, errShort
	}
	w.at++
	return w.data[w.at-1], nil
}

func (w *thriftWalk) value(kind byte, depth int) error {
	const deepest = 32
	if depth > deepest {
		return errThrift
	}
	switch kind {
	case thriftTrue, thriftFalse:
		return nil // the kind of a field is its value
	case thriftByte:
		return w.skip(1)
	case thriftI16, thriftI32, thriftI64:
		_, err := w.uvarint()
		return err
	case thriftDouble:
		return w.skip(8)
	case thriftUUID:
		return w.skip(16)
	case thriftBinary:
		n, err := w.uvarint()
		if err != nil {
			return err
		}
		return w.skip(n)
	case thriftList, thriftSet:
		return w.list(depth)
	case thriftMap:
		return errThrift // no struct of Parquet has one
	case thriftStruct:
		return w.fields(depth)
	}
	return fmt.Errorf("%w: a value of kind %d", errThrift, kind)
}

func (w *thriftWalk) fields(depth int) error {
	for {
		header, err := w.byte()
		if err != nil || header == 0 {
			return err
		}
		if header>>4 == 0 { // the field's number follows
			if _, err := w.uvarint(); err != nil {
				return err
			}
		}
		if err := w.value(header&15, depth+1); err != nil {
			return err
		}
	}
}

func (w *thriftWalk) list(depth int) error {
	header, err := w.byte()
	if err != nil {
		return err
	}
	n, kind := uint64(header>>4), header&15
	if n == 15 {
		if n, err = w.uvarint(); err != nil {
			return err
		}
	}
	if n > uint64(len(w.data)-w.at) { // each has a byte at least
		return errShort
	}
	each := otherBytes
	if kind == thriftStruct {
		each = structBytes
	}
	if w.elements += int(n) * each; w.elements > maxDescribed {
		return errLarge
	}
	for range n {
		if kind == thriftTrue || kind == thriftFalse {
			err = w.skip(1)
		} else {
			err = w.value(kind, depth+1)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
