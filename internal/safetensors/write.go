package safetensors

import (
	"encoding/binary"
	"encoding/json/jsontext"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
)

// Data is a tensor to write; Bytes holds its elements in row-major order, little endian.
type Data struct {
	Name  string
	DType DType
	Shape []int
	Bytes []byte
}

// Write writes a whole file: the header in the given order, metadata by key, then the tensors' bytes. The same input
// gives the same bytes. A size that disagrees with shape and element type is a bug and panics.
func Write(w io.Writer, metadata map[string]string, tensors []Data) error {
	headers := make([]Tensor, len(tensors))
	for i, t := range tensors {
		headers[i] = Tensor{Name: t.Name, DType: t.DType, Shape: t.Shape}
		if size, err := byteSize(t.DType, t.Shape); err != nil || size != uint64(len(t.Bytes)) {
			panic(fmt.Sprintf("safetensors: tensor %q: %d bytes for %s%v", t.Name, len(t.Bytes), t.DType, t.Shape))
		}
	}
	if err := WriteHeader(w, metadata, headers); err != nil {
		return err
	}
	for _, t := range tensors {
		if _, err := w.Write(t.Bytes); err != nil {
			return err
		}
	}
	return nil
}

// WriteHeader writes everything up to the first tensor's bytes, which then have to follow in the given order without
// gaps: so a file larger than memory is streamed. Only Name, DType and Shape are read. The first byte of data is
// aligned to 8.
func WriteHeader(w io.Writer, metadata map[string]string, tensors []Tensor) error {
	header := []byte("{")
	quote := func(s string) (err error) {
		header, err = jsontext.AppendQuote(header, s)
		return err
	}
	if len(metadata) > 0 {
		header = append(header, `"__metadata__":{`...)
		for i, key := range slices.Sorted(maps.Keys(metadata)) {
			if i > 0 {
				header = append(header, ',')
			}
			if err := quote(key); err != nil {
				return fmt.Errorf("metadata key %q: %w", key, err)
			}
			header = append(header, ':')
			if err := quote(metadata[key]); err != nil {
				return fmt.Errorf("metadata %q: %w", key, err)
			}
		}
		header = append(header, '}')
	}
	names := map[string]bool{"__metadata__": true}
	var begin uint64
	for _, t := range tensors {
		size, err := byteSize(t.DType, t.Shape)
		if err != nil || t.DType.Size() == 0 || names[t.Name] {
			panic(fmt.Sprintf("safetensors: tensor %q %s%v: duplicate name, unknown type or impossible size", t.Name, t.DType, t.Shape))
		}
		names[t.Name] = true
		if len(header) > 1 {
			header = append(header, ',')
		}
		if err := quote(t.Name); err != nil {
			return fmt.Errorf("tensor name %q: %w", t.Name, err)
		}
		header = append(header, `:{"dtype":"`+string(t.DType)+`","shape":[`...)
		for i, d := range t.Shape {
			if i > 0 {
				header = append(header, ',')
			}
			header = strconv.AppendInt(header, int64(d), 10)
		}
		header = fmt.Appendf(header, `],"data_offsets":[%d,%d]}`, begin, begin+size)
		begin += size
	}
	header = append(header, '}')
	for len(header)%8 != 0 {
		header = append(header, ' ')
	}
	if len(header) > maxHeader {
		return fmt.Errorf("the header takes %d bytes, the limit is %d", len(header), maxHeader)
	}
	if _, err := w.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(header)))); err != nil {
		return err
	}
	_, err := w.Write(header)
	return err
}
