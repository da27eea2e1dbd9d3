package gguf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// kind is the type of a metadata value.
type kind uint32

const (
	kindUint8 kind = iota
	kindInt8
	kindUint16
	kindInt16
	kindUint32
	kindInt32
	kindFloat32
	kindBool
	kindString
	kindArray
	kindUint64
	kindInt64
	kindFloat64
)

var kindNames = [...]string{"uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "bool", "string", "array", "uint64",
	"int64", "float64"}

// kindSizes holds bytes per value, 0 where it varies.
var kindSizes = [...]int64{1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8}

func (k kind) String() string {
	if int(k) < len(kindNames) {
		return kindNames[k]
	}
	return fmt.Sprintf("type %d", uint32(k))
}

// value is a metadata value as it lies in the file; the typed getters decode it.
type value struct {
	kind    kind
	array   bool // then kind is the elements' type
	raw     []byte
	strings []string // for kindString, one element unless array
	at      int64    // offset in the file, for messages
}

// readPair reads one metadata entry.
func (f *File) readPair(h *headerReader) error {
	at := h.at
	key, err := h.string(maxString)
	if err != nil {
		return err
	}
	if key == "" {
		return bad(f.path, at, "a metadata key is empty")
	}
	if _, twice := f.metadata[key]; twice {
		return bad(f.path, at, "two metadata entries are named %q", key)
	}
	k, err := h.kind()
	if err != nil {
		return err
	}
	v := value{kind: k, at: h.at}
	n := uint64(1)
	if k == kindArray {
		v.array = true
		if v.kind, err = h.kind(); err != nil {
			return err
		}
		if v.kind == kindArray {
			return bad(f.path, v.at, "%s is an array of arrays", key)
		}
		if n, err = h.uint64(); err != nil {
			return err
		}
		if n > maxArray {
			return bad(f.path, v.at, "%s has %d elements, the limit is %d", key, n, maxArray)
		}
	}
	if v.kind == kindString {
		v.strings, err = h.strings(n)
	} else {
		v.raw, err = h.bytes(int64(n) * kindSizes[v.kind])
	}
	if err != nil {
		return err
	}
	if v.kind == kindBool {
		for i, b := range v.raw {
			if b > 1 {
				return bad(f.path, h.at-int64(len(v.raw)-i), "%s is a bool of value %d", key, b)
			}
		}
	}
	f.metadata[key] = v
	return nil
}

// headerReader reads the part of the file before the tensors' data, and knows where it is.
type headerReader struct {
	r    *bufio.Reader
	path string
	at   int64
	size int64 // of the file
	end  int64 // the header may reach up to here
}

// left checks that n more bytes exist and fit the limit on headers.
func (h *headerReader) left(n uint64) error {
	switch {
	case n > uint64(h.size-h.at):
		return bad(h.path, h.at, "%d bytes are needed, the file has %d left", n, h.size-h.at).
			Hinted("the file is cut off or damaged")
	case n > uint64(h.end-h.at):
		return bad(h.path, h.at, "the header is longer than %d bytes", maxHeader)
	}
	return nil
}

func (h *headerReader) read(dst []byte) error {
	if err := h.left(uint64(len(dst))); err != nil {
		return err
	}
	n, err := io.ReadFull(h.r, dst)
	if err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return bad(h.path, h.at+int64(n), "%w", err)
	}
	h.at += int64(n)
	return nil
}

func (h *headerReader) bytes(n int64) ([]byte, error) {
	if err := h.left(uint64(n)); err != nil {
		return nil, err
	}
	b := make([]byte, n)
	return b, h.read(b)
}

func (h *headerReader) uint32() (uint32, error) {
	var b [4]byte
	err := h.read(b[:])
	return binary.LittleEndian.Uint32(b[:]), err
}

func (h *headerReader) uint64() (uint64, error) {
	var b [8]byte
	err := h.read(b[:])
	return binary.LittleEndian.Uint64(b[:]), err
}

// count reads how many entries follow, each of at least size bytes.
func (h *headerReader) count(what string, size uint64) (uint64, error) {
	at := h.at
	n, err := h.uint64()
	if err != nil {
		return 0, err
	}
	if left := uint64(h.size - h.at); n > left/size {
		return 0, bad(h.path, at, "%d %s cannot fit in the %d bytes that follow", n, what, left)
	}
	return n, nil
}

func (h *headerReader) kind() (kind, error) {
	at := h.at
	v, err := h.uint32()
	if err == nil && int(v) >= len(kindNames) {
		return 0, bad(h.path, at, "metadata has the unknown type %d", v)
	}
	return kind(v), err
}

func (h *headerReader) string(limit uint64) (string, error) {
	at := h.at
	n, err := h.uint64()
	if err != nil {
		return "", err
	}
	if n > limit {
		return "", bad(h.path, at, "a string has %d bytes, the limit is %d", n, limit)
	}
	b, err := h.bytes(int64(n))
	return string(b), err
}

func (h *headerReader) strings(n uint64) ([]string, error) {
	if err := h.left(8 * n); err != nil { // each has a length at least
		return nil, err
	}
	out := make([]string, n)
	for i := range out {
		var err error
		if out[i], err = h.string(maxString); err != nil {
			return nil, err
		}
	}
	return out, nil
}
