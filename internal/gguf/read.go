// Package gguf reads and writes GGUF files: typed metadata, then tensors in ggml's element and block types
// (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md). When reading, sizes and offsets are checked before
// anything is allocated.
package gguf

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"sync"

	"qlora-wgpu/internal/usererr"
)

const (
	op = "read gguf"

	// Magic is how every GGUF file begins.
	Magic = "GGUF"

	maxString    = 16 << 20
	maxArray     = 64 << 20
	maxName      = 64 // a tensor's name is shorter
	maxAlignment = 64 << 10
	maxDims      = 4

	// maxHeader bounds metadata and tensor table together; a vocabulary of 256,000 tokens with merges takes about 20 MiB.
	maxHeader = 512 << 20

	// The shortest possible entries: a key of one byte with a one-byte value, a nameless tensor without dimensions.
	minPair   = 8 + 1 + 4 + 1
	minTensor = 8 + 4 + 4 + 8
)

// Tensor is one entry of the tensor table.
type Tensor struct {
	Name   string
	Type   Type
	Shape  []int // row-major: rows first, columns last (ggml's ne reversed)
	Offset int64 // of the first byte, from the start of the file
	Size   int64 // bytes

	part int // of a split model
}

// Rows is the product of all dimensions but the last; 1 for a vector or a scalar.
func (t Tensor) Rows() int {
	n := 1
	for _, d := range t.Shape[:max(0, len(t.Shape)-1)] {
		n *= d
	}
	return n
}

// Cols is the last dimension, ggml's ne[0]; 1 for a scalar.
func (t Tensor) Cols() int {
	if len(t.Shape) == 0 {
		return 1
	}
	return t.Shape[len(t.Shape)-1]
}

// File is an open file whose header has been checked. Its methods may be called concurrently.
type File struct {
	path      string // of the part with the metadata
	sources   []source
	metadata  map[string]value
	tensors   []Tensor
	index     map[string]int
	dataStart int64
}

// source is what holds tensors: the file, or a part of it.
type source struct {
	r    io.ReaderAt
	path string
}

// Read checks the header of a file of size bytes and keeps r for later reads. The path only serves messages.
// Errors are *usererr.Error of kind Format (damaged) or Unsupported (version, byte order, tensor type), with the
// offset.
func Read(r io.ReaderAt, size int64, path string) (*File, error) {
	end := min(size, maxHeader)
	h := &headerReader{r: bufio.NewReaderSize(io.NewSectionReader(r, 0, end), 64<<10), path: path, size: size, end: end}
	f := &File{path: path, sources: []source{{r, path}}, metadata: map[string]value{}, index: map[string]int{}}
	var magic [4]byte
	if err := h.read(magic[:]); err != nil {
		return nil, err
	}
	if string(magic[:]) != Magic {
		start := make([]byte, len(usererr.LFSStart))
		if n, _ := r.ReadAt(start, 0); n == len(start) {
			if err := usererr.LFS(op, path, start); err != nil {
				return nil, err
			}
		}
		return nil, bad(path, 0, "the file starts with %q instead of %q", magic[:], Magic)
	}
	version, err := h.uint32()
	if err != nil {
		return nil, err
	}
	if version != 2 && version != 3 {
		e := bad(path, 4, "version %d", version).Of(usererr.Unsupported)
		if v := bits.ReverseBytes32(version); v == 2 || v == 3 {
			return nil, bad(path, 4, "the file is big endian").Of(usererr.Unsupported)
		}
		return nil, e.Hinted("versions 2 and 3 are read, convert the model again with a current llama.cpp")
	}
	tensors, err := h.count("tensors", minTensor)
	if err != nil {
		return nil, err
	}
	pairs, err := h.count("metadata entries", minPair)
	if err != nil {
		return nil, err
	}
	for range pairs {
		if err := f.readPair(h); err != nil {
			return nil, err
		}
	}
	alignment, err := f.alignment()
	if err != nil {
		return nil, err
	}
	var next uint64 // where the next tensor has to begin, from the start of the data
	for range tensors {
		if next, err = f.readTensor(h, next, alignment); err != nil {
			return nil, err
		}
	}
	return f, f.placeTensors(size, h.at, int64(alignment))
}

func (f *File) alignment() (uint64, error) {
	const key = "general.alignment"
	v, ok, err := f.get(key, "a uint32", false, func(k kind) bool { return k == kindUint32 })
	if !ok || err != nil {
		return 32, err
	}
	a := uint64(binary.LittleEndian.Uint32(v.raw))
	if bits.OnesCount64(a) != 1 || a > maxAlignment {
		return 0, bad(f.path, v.at, "%s is %d, a power of two up to %d was wanted", key, a, maxAlignment)
	}
	return a, nil
}

// readTensor reads an entry of the tensor table, leaves its Offset relative to the data, and returns the next one's
// offset.
func (f *File) readTensor(h *headerReader, begin, alignment uint64) (next uint64, err error) {
	at := h.at
	name, err := h.string(maxName - 1)
	if err != nil {
		return 0, err
	}
	if _, twice := f.index[name]; twice {
		return 0, bad(f.path, at, "two tensors are named %q", name)
	}
	dims, err := h.uint32()
	if err != nil {
		return 0, err
	}
	if dims > maxDims {
		return 0, bad(f.path, at, "tensor %q has %d dimensions, the limit is %d", name, dims, maxDims)
	}
	t := Tensor{Name: name, Shape: make([]int, dims)}
	elements, first := uint64(1), uint64(1)
	for i := range dims {
		d, err := h.uint64()
		if err != nil {
			return 0, err
		}
		hi, product := bits.Mul64(elements, d)
		if d == 0 || hi != 0 || product > math.MaxInt {
			return 0, bad(f.path, at, "tensor %q: dimension %d is %d: the number of elements must lie in 1 to 2^63-1", name, i, d)
		}
		if i == 0 {
			first = d
		}
		elements = product
		t.Shape[dims-1-i] = int(d)
	}
	id, err := h.uint32()
	if err != nil {
		return 0, err
	}
	t.Type = Type(id)
	layout, ok := layouts[t.Type]
	if !ok {
		return 0, bad(f.path, at, "tensor %q has type %v", name, t.Type).Of(usererr.Unsupported).
			Hinted("take the model in one of %s, or make that: llama-quantize --allow-requantize THIS.gguf OTHER.gguf Q8_0", readTypes())
	}
	if first%uint64(layout.elements) != 0 {
		return 0, bad(f.path, at, "tensor %q has rows of %d elements, %v comes in blocks of %d", name, first, t.Type, layout.elements)
	}
	hi, size := bits.Mul64(elements/uint64(layout.elements), uint64(layout.bytes))
	if hi != 0 || size > math.MaxInt64-maxAlignment {
		return 0, bad(f.path, at, "the size of tensor %q %v%v overflows", name, t.Type, t.Shape)
	}
	offset, err := h.uint64()
	if err != nil {
		return 0, err
	}
	if offset != begin {
		return 0, bad(f.path, at, "tensor %q has offset %d, the tensors before it end at %d", name, offset, begin)
	}
	end, carry := bits.Add64(begin, padded(size, alignment), 0)
	if carry != 0 || end > math.MaxInt64 {
		return 0, bad(f.path, at, "tensor %q ends beyond 2^63 bytes", name)
	}
	t.Offset, t.Size = int64(begin), int64(size)
	f.index[name] = len(f.tensors)
	f.tensors = append(f.tensors, t)
	return end, nil
}

// placeTensors turns offsets in the data into offsets in the file, once the length of the header is known.
func (f *File) placeTensors(size, headerEnd, alignment int64) error {
	f.dataStart = int64(padded(uint64(headerEnd), uint64(alignment)))
	for i := range f.tensors {
		t := &f.tensors[i]
		if t.Offset > size-f.dataStart || t.Size > size-f.dataStart-t.Offset {
			return bad(f.path, f.dataStart, "tensor %q needs bytes up to %d of the data, the file holds %d", t.Name,
				t.Offset+t.Size, max(0, size-f.dataStart)).Hinted("the file is cut off, fetch it again")
		}
		t.Offset += f.dataStart
	}
	f.dataStart = min(f.dataStart, size)
	return nil
}

func padded(n, alignment uint64) uint64 { return (n + alignment - 1) &^ (alignment - 1) }

// Tensors lists the tensors in file order. The slice is shared: do not write to it.
func (f *File) Tensors() []Tensor { return f.tensors }

// Lookup finds a tensor by name.
func (f *File) Lookup(name string) (Tensor, bool) {
	i, ok := f.index[name]
	if !ok {
		return Tensor{}, false
	}
	return f.tensors[i], true
}

// PathOf is the path of the file that holds a tensor: of the part, where the model is split.
func (f *File) PathOf(t Tensor) string { return f.sources[t.part].path }

// DataStart is the length of the header: metadata, tensor table, padding.
func (f *File) DataStart() int64 { return f.dataStart }

// ReadBytes fills dst with raw bytes of the tensor, from byte at on. A range outside the tensor is a bug and panics.
func (f *File) ReadBytes(t Tensor, dst []byte, at int64) error {
	if at < 0 || at > t.Size || int64(len(dst)) > t.Size-at {
		panic(fmt.Sprintf("gguf: bytes [%d, %d) of tensor %q of %d bytes", at, at+int64(len(dst)), t.Name, t.Size))
	}
	from := f.sources[t.part]
	n, err := from.r.ReadAt(dst, t.Offset+at)
	if n == len(dst) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return bad(from.path, t.Offset+at, "tensor %q: %w", t.Name, err)
}

// ReadFloat32 dequantizes rows [firstRow, firstRow+rows) into dst of rows·Cols elements. A range outside the tensor or
// another length of dst is a bug and panics.
func (f *File) ReadFloat32(t Tensor, dst []float32, firstRow, rows int) error {
	if firstRow < 0 || rows < 0 || firstRow > t.Rows() || rows > t.Rows()-firstRow || len(dst) != rows*t.Cols() {
		panic(fmt.Sprintf("gguf: rows [%d, %d) of tensor %q %v into %d elements", firstRow, firstRow+rows, t.Name, t.Shape, len(dst)))
	}
	layout := layouts[t.Type]
	blocks := len(dst) / layout.elements
	at := int64(firstRow) * int64(t.Cols()/layout.elements) * int64(layout.bytes)
	perPiece := piece / layout.bytes
	buf := pieces.Get().(*[piece]byte)
	defer pieces.Put(buf)
	for blocks > 0 {
		n := min(blocks, perPiece)
		b := buf[:n*layout.bytes]
		if err := f.ReadBytes(t, b, at); err != nil {
			return err
		}
		layout.dequantize(dst[:n*layout.elements], b)
		dst, blocks, at = dst[n*layout.elements:], blocks-n, at+int64(len(b))
	}
	return nil
}

// piece is how many bytes are read at a time: they are still in the first cache when they are dequantized.
const piece = 16 << 10

var pieces = sync.Pool{New: func() any { return new([piece]byte) }}

func bad(path string, offset int64, format string, args ...any) *usererr.Error {
	return usererr.New(op, path, format, args...).Of(usererr.Format).At("offset %d", offset)
}
