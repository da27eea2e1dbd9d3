package gguf

import (
	"encoding/binary"
	"fmt"
	"io"
	"reflect"
	"slices"
)

// alignment of the tensors in files that are written: the format's default, so that no key says it.
const alignment = 32

// Pair is a metadata entry to write. Value is a bool, a string, a float32 or float64, an int or uint of 8 to 64 bits
// with its width in its type, or a slice of one of these: its Go type is the type in the file.
type Pair struct {
	Key   string
	Value any
}

// Writer writes a file of version 3 as a stream: the header, then the tensors in the order of the table, each in pieces
// of any size. The same calls give the same bytes. It is for one goroutine.
type Writer struct {
	out     io.Writer
	header  []byte
	tensors []Tensor
	size    int64
	next    int   // tensor whose bytes come next
	left    int64 // of its bytes
}

// NewWriter makes the header: metadata in the given order, then the table, of whose tensors Name, Type and Shape are
// read. Errors are of metadata that is too long for a reader. Names that are empty, too long or there twice, values of
// another type, and shapes that the type does not allow are bugs and panic.
func NewWriter(out io.Writer, metadata []Pair, tensors []Tensor) (*Writer, error) {
	w := &Writer{out: out, tensors: slices.Clone(tensors)}
	b := append([]byte(nil), Magic...)
	b = binary.LittleEndian.AppendUint32(b, 3)
	b = binary.LittleEndian.AppendUint64(b, uint64(len(tensors)))
	b = binary.LittleEndian.AppendUint64(b, uint64(len(metadata)))
	keys := map[string]bool{"": true, "general.alignment": true}
	for _, p := range metadata {
		if keys[p.Key] {
			panic(fmt.Sprintf("gguf: metadata key %q is empty, there twice, or the writer's own", p.Key))
		}
		keys[p.Key] = true
		var err error
		if b, err = appendValue(appendString(b, p.Key), p.Value); err != nil {
			return nil, fmt.Errorf("metadata %s: %w", p.Key, err)
		}
		if len(b) > maxHeader {
			return nil, fmt.Errorf("metadata %s: the header is longer than %d bytes", p.Key, maxHeader)
		}
	}
	names := map[string]bool{}
	var offset int64
	for i := range w.tensors {
		t := &w.tensors[i]
		if names[t.Name] || len(t.Name) >= maxName || len(t.Shape) > maxDims {
			panic(fmt.Sprintf("gguf: tensor %q %v: its name is there twice or too long, or it has too many dimensions", t.Name, t.Shape))
		}
		names[t.Name] = true
		t.Offset, t.Size = offset, int64(t.Rows())*int64(t.Type.RowSize(t.Cols()))
		offset += int64(padded(uint64(t.Size), alignment))
		b = binary.LittleEndian.AppendUint32(appendString(b, t.Name), uint32(len(t.Shape)))
		for _, d := range slices.Backward(t.Shape) {
			if d < 1 {
				panic(fmt.Sprintf("gguf: tensor %q has the shape %v", t.Name, t.Shape))
			}
			b = binary.LittleEndian.AppendUint64(b, uint64(d))
		}
		b = binary.LittleEndian.AppendUint32(b, uint32(t.Type))
		b = binary.LittleEndian.AppendUint64(b, uint64(t.Offset))
	}
	w.header = pad(b, int64(len(b)))
	w.size = int64(len(w.header)) + offset
	if len(w.header) > maxHeader {
		return nil, fmt.Errorf("the header takes %d bytes, the limit is %d", len(w.header), maxHeader)
	}
	if len(w.tensors) > 0 {
		w.left = w.tensors[0].Size
	}
	return w, nil
}

// Size is the length of the whole file in bytes.
func (w *Writer) Size() int64 { return w.size }

// Write adds raw bytes of the named tensor, which has to be the one in turn: the header goes before the first, padding
// behind each. Bytes beyond its size are a bug and panic. Errors are those of the output, after which the file is lost.
func (w *Writer) Write(name string, b []byte) error {
	if w.next == len(w.tensors) || w.tensors[w.next].Name != name || int64(len(b)) > w.left {
		panic(fmt.Sprintf("gguf: %d bytes of tensor %q at tensor %d of %d, of which %d bytes are left", len(b), name, w.next,
			len(w.tensors), w.left))
	}
	if err := w.Header(); err != nil {
		return err
	}
	if _, err := w.out.Write(b); err != nil {
		return err
	}
	if w.left -= int64(len(b)); w.left > 0 {
		return nil
	}
	if padding := pad(nil, w.tensors[w.next].Size); len(padding) > 0 {
		if _, err := w.out.Write(padding); err != nil {
			return err
		}
	}
	if w.next++; w.next < len(w.tensors) {
		w.left = w.tensors[w.next].Size
	}
	return nil
}

// Close ends the file, whose output stays open. A tensor that is missing is a bug and panics.
func (w *Writer) Close() error {
	if w.next < len(w.tensors) {
		panic(fmt.Sprintf("gguf: %d bytes of tensor %q are missing", w.left, w.tensors[w.next].Name))
	}
	return w.Header()
}

// Header writes the header, once: whoever wants it without tensors calls it.
func (w *Writer) Header() error {
	_, err := w.out.Write(w.header)
	w.header = nil
	return err
}

// pad adds zeros to b up to the alignment of something of n bytes.
func pad(b []byte, n int64) []byte {
	return append(b, make([]byte, int64(padded(uint64(n), alignment))-n)...)
}

// RowSize is how many bytes a row of columns elements takes. A width that is no whole number of blocks is a bug and
// panics, as does a type that is not read.
func (t Type) RowSize(columns int) int {
	l, ok := layouts[t]
	if !ok || columns%l.elements != 0 {
		panic(fmt.Sprintf("gguf: rows of %d elements as %v", columns, t))
	}
	return columns / l.elements * l.bytes
}

func appendString(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
}

// kinds are the types of metadata by Go's.
var kinds = map[reflect.Kind]kind{
	reflect.Uint8: kindUint8, reflect.Int8: kindInt8, reflect.Uint16: kindUint16, reflect.Int16: kindInt16,
	reflect.Uint32: kindUint32, reflect.Int32: kindInt32, reflect.Uint64: kindUint64, reflect.Int64: kindInt64,
	reflect.Float32: kindFloat32, reflect.Float64: kindFloat64, reflect.Bool: kindBool, reflect.String: kindString,
}

// appendValue adds a value's type, the number of its elements if it is an array, and the value.
func appendValue(b []byte, value any) ([]byte, error) {
	t, n := reflect.TypeOf(value), 1
	if t.Kind() == reflect.Slice {
		t, n = t.Elem(), reflect.ValueOf(value).Len()
		b = binary.LittleEndian.AppendUint32(b, uint32(kindArray))
	}
	k, ok := kinds[t.Kind()]
	if !ok {
		panic(fmt.Sprintf("gguf: metadata of Go type %T", value))
	}
	b = binary.LittleEndian.AppendUint32(b, uint32(k))
	if t != reflect.TypeOf(value) {
		b = binary.LittleEndian.AppendUint64(b, uint64(n))
	}
	if n > maxArray {
		return nil, fmt.Errorf("%d elements, the limit is %d", n, maxArray)
	}
	var list []string
	switch v := value.(type) {
	case string:
		list = []string{v}
	case []string:
		list = v
	default:
		b, err := binary.Append(b, binary.LittleEndian, value)
		if err != nil {
			panic(fmt.Sprintf("gguf: metadata of Go type %T: %v", value, err))
		}
		return b, nil
	}
	for _, s := range list {
		if len(s) > maxString {
			return nil, fmt.Errorf("a string has %d bytes, the limit is %d", len(s), maxString)
		}
		b = appendString(b, s)
	}
	return b, nil
}
