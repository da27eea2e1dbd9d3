// Package safetensors reads and writes the safetensors format: a JSON header that names tensors, then their bytes
// without holes (https://github.com/huggingface/safetensors). The reader is strict: what one loader would read
// differently from another, such as duplicate keys or overlapping data, is refused.
package safetensors

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/bits"
	"slices"
	"sync"

	"qlora-wgpu/internal/usererr"
)

const (
	op = "read safetensors"

	// maxHeader is the limit of the reference implementation.
	maxHeader = 100_000_000

	// piece is how many bytes are read at a time, which are still in the first cache when they are converted; divisible by
	// every element size.
	piece = 16 << 10
)

// Tensor is one entry of the header.
type Tensor struct {
	Name   string
	DType  DType
	Shape  []int
	Offset int64 // of the first byte, from the start of the file
	Size   int64 // bytes
}

// Elements is the product of the shape.
func (t Tensor) Elements() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// File is an open file whose header has been checked. Its methods may be called concurrently.
type File struct {
	r         io.ReaderAt
	path      string
	tensors   []Tensor
	index     map[string]int
	metadata  map[string]string
	dataStart int64
}

// Read checks the header of a file of size bytes and keeps r for later reads. The path only serves messages.
// Errors are *usererr.Error of kind Format (damaged) or Unsupported (a packed element type), with the offset in the
// file.
func Read(r io.ReaderAt, size int64, path string) (*File, error) {
	if size < 8 {
		return nil, bad(path, 0, "the file has %d bytes, a header length takes 8", size)
	}
	var prefix [9]byte
	if err := readFull(r, prefix[:8], 0); err != nil {
		return nil, bad(path, 0, "%w", err)
	}
	length := binary.LittleEndian.Uint64(prefix[:8])
	if start := make([]byte, len(usererr.LFSStart)); length > maxHeader && readFull(r, start, 0) == nil {
		if err := usererr.LFS(op, path, start); err != nil {
			return nil, err
		}
	}
	switch {
	case length < 2:
		return nil, bad(path, 0, "the header length is %d, the shortest header {} has 2 bytes", length)
	case length > maxHeader:
		return nil, bad(path, 0, "the header length is %d, the limit is %d", length, maxHeader)
	case int64(length) > size-8:
		return nil, bad(path, 0, "the header length is %d, the file has %d bytes left", length, size-8).
			Hinted("the file is cut off or is no safetensors file")
	}
	if err := readFull(r, prefix[8:], 8); err != nil {
		return nil, bad(path, 8, "%w", err)
	}
	if prefix[8] != '{' {
		return nil, bad(path, 8, "the header starts with %q instead of {", prefix[8])
	}
	f := &File{r: r, path: path, index: map[string]int{}, metadata: map[string]string{}, dataStart: 8 + int64(length)}
	entries, err := f.parseHeader(int64(length))
	if err != nil {
		return nil, err
	}
	if err := f.layOut(entries, size); err != nil {
		return nil, err
	}
	return f, nil
}

// entry is a tensor as the header states it.
type entry struct {
	Tensor
	at         int64  // where the header names it
	begin, end uint64 // bytes from the end of the header
}

// layOut checks that the entries cover the data exactly once, and fills the table of tensors.
func (f *File) layOut(entries []entry, size int64) error {
	slices.SortStableFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end))
	})
	data := uint64(size - f.dataStart)
	var previous uint64
	for _, e := range entries {
		want, err := byteSize(e.DType, e.Shape)
		switch {
		case err != nil:
			return bad(f.path, e.at, "tensor %q: %w", e.Name, err)
		case e.end < e.begin:
			return bad(f.path, e.at, "tensor %q ends at %d before it begins at %d", e.Name, e.end, e.begin)
		case e.begin > previous:
			return bad(f.path, e.at, "tensor %q begins at %d, leaving a hole of %d bytes", e.Name, e.begin, e.begin-previous)
		case e.begin < previous:
			return bad(f.path, e.at, "tensor %q begins at %d inside the tensor that ends at %d", e.Name, e.begin, previous)
		case e.end-e.begin != want:
			return bad(f.path, e.at, "tensor %q spans %d bytes, %s%v takes %d", e.Name, e.end-e.begin, e.DType, e.Shape, want)
		case e.end > data:
			return bad(f.path, e.at, "tensor %q ends at %d, the file holds %d bytes of data", e.Name, e.end, data).
				Hinted("the file is cut off, fetch it again")
		}
		previous = e.end
		e.Offset, e.Size = f.dataStart+int64(e.begin), int64(want)
		f.index[e.Name] = len(f.tensors)
		f.tensors = append(f.tensors, e.Tensor)
	}
	if previous != data {
		return bad(f.path, f.dataStart+int64(previous), "%d bytes follow the last tensor", data-previous)
	}
	return nil
}

// byteSize is the size of a tensor, or an error where it is not representable. A dimension of zero makes the tensor
// empty and leaves the other dimensions under the same limit.
func byteSize(dtype DType, shape []int) (uint64, error) {
	n, empty := uint64(dtype.Size()), false
	for _, d := range shape {
		if d == 0 {
			empty = true
			continue
		}
		hi, lo := bits.Mul64(n, uint64(d))
		if hi != 0 || lo > math.MaxInt64 {
			return 0, fmt.Errorf("the size of %s%v overflows", dtype, shape)
		}
		n = lo
	}
	if empty {
		return 0, nil
	}
	return n, nil
}

// Tensors lists the tensors by offset. The slice is shared: do not write to it.
func (f *File) Tensors() []Tensor { return f.tensors }

// Lookup finds a tensor by name.
func (f *File) Lookup(name string) (Tensor, bool) {
	i, ok := f.index[name]
	if !ok {
		return Tensor{}, false
	}
	return f.tensors[i], true
}

// Metadata is the header's __metadata__, empty where it has none. The map is shared: do not write to it.
func (f *File) Metadata() map[string]string { return f.metadata }

// DataStart is the offset of the first tensor's first byte: the length of the header with its 8-byte prefix.
func (f *File) DataStart() int64 { return f.dataStart }

// ReadBytes fills dst with raw bytes of the tensor, from byte at on. A range outside the tensor is a bug and panics.
func (f *File) ReadBytes(t Tensor, dst []byte, at int64) error {
	if at < 0 || at > t.Size || int64(len(dst)) > t.Size-at {
		panic(fmt.Sprintf("safetensors: bytes [%d, %d) of tensor %q of %d bytes", at, at+int64(len(dst)), t.Name, t.Size))
	}
	if err := readFull(f.r, dst, t.Offset+at); err != nil {
		return bad(f.path, t.Offset+at, "tensor %q: %w", t.Name, err)
	}
	return nil
}

// ReadFloat32 fills dst with the tensor's elements from element first on, in row-major order. F64 is rounded to
// nearest; F32, F16 and BF16 are exact; other element types are Unsupported. A range outside the tensor is a bug and
// panics.
func (f *File) ReadFloat32(t Tensor, dst []float32, first int) error {
	convert := toFloat32[t.DType]
	if convert == nil {
		return bad(f.path, t.Offset, "tensor %q has element type %s", t.Name, t.DType).Of(usererr.Unsupported).
			Hinted("weights must be F64, F32, F16 or BF16")
	}
	if first < 0 || first > t.Elements() || len(dst) > t.Elements()-first {
		panic(fmt.Sprintf("safetensors: elements [%d, %d) of tensor %q of %d elements", first, first+len(dst), t.Name, t.Elements()))
	}
	size := t.DType.Size()
	buf := pieces.Get().(*[piece]byte)
	defer pieces.Put(buf)
	for len(dst) > 0 {
		n := min(len(dst), piece/size)
		if err := f.ReadBytes(t, buf[:n*size], int64(first)*int64(size)); err != nil {
			return err
		}
		convert(dst[:n], buf[:])
		dst, first = dst[n:], first+n
	}
	return nil
}

var pieces = sync.Pool{New: func() any { return new([piece]byte) }}

func readFull(r io.ReaderAt, dst []byte, at int64) error {
	n, err := r.ReadAt(dst, at)
	if n == len(dst) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func bad(path string, offset int64, format string, args ...any) *usererr.Error {
	return usererr.New(op, path, format, args...).Of(usererr.Format).At("offset %d", offset)
}
