package safetensors

import (
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"

	"qlora-wgpu/internal/usererr"
)

// headerReader walks the JSON header token by token, so that a hostile header costs no more memory than its tensors.
// The decoder refuses invalid UTF-8 and duplicate keys.
type headerReader struct {
	*jsontext.Decoder
	path string
}

// parseHeader reads the header of length bytes; metadata goes into f.
func (f *File) parseHeader(length int64) ([]entry, error) {
	section := io.NewSectionReader(f.r, 8, length)
	h := headerReader{jsontext.NewDecoder(section), f.path}
	if err := h.open('{'); err != nil {
		return nil, err
	}
	var entries []entry
	for h.PeekKind() != '}' {
		name, err := h.str()
		if err != nil {
			return nil, err
		}
		if name == "__metadata__" {
			err = h.metadata(f.metadata)
		} else {
			e := entry{Tensor: Tensor{Name: name}, at: h.offset()}
			err = h.tensor(&e)
			entries = append(entries, e)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := h.open('}'); err != nil {
		return nil, err
	}
	return entries, h.onlySpaces(section, length)
}

// onlySpaces checks that nothing but padding follows the closing brace.
func (h headerReader) onlySpaces(section *io.SectionReader, length int64) error {
	buf := make([]byte, 4096)
	for at := h.InputOffset(); at < length; {
		n := min(int64(len(buf)), length-at)
		if err := readFull(section, buf[:n], at); err != nil {
			return bad(h.path, 8+at, "%w", err)
		}
		if i := slices.IndexFunc(buf[:n], func(c byte) bool { return c != ' ' }); i >= 0 {
			return bad(h.path, 8+at+int64(i), "%q follows the end of the header", buf[i])
		}
		at += n
	}
	return nil
}

func (h headerReader) metadata(into map[string]string) error {
	if h.PeekKind() == 'n' { // as MLX writes where there is none, and the reference implementation reads
		return h.open('n')
	}
	if err := h.open('{'); err != nil {
		return err
	}
	for h.PeekKind() != '}' {
		key, err := h.str()
		if err != nil {
			return err
		}
		if into[key], err = h.str(); err != nil {
			return err
		}
	}
	return h.open('}')
}

func (h headerReader) tensor(e *entry) error {
	if err := h.open('{'); err != nil {
		return err
	}
	var seen int
	for h.PeekKind() != '}' {
		field, err := h.str()
		if err != nil {
			return err
		}
		seen++
		switch field {
		case "dtype":
			err = h.dtype(e)
		case "shape":
			var dims []uint64
			dims, err = h.integers()
			e.Shape = make([]int, len(dims))
			for i, d := range dims {
				if d > math.MaxInt {
					return h.bad("tensor %q has a dimension of %d", e.Name, d)
				}
				e.Shape[i] = int(d)
			}
		case "data_offsets":
			var offsets []uint64
			if offsets, err = h.integers(); err == nil {
				if len(offsets) != 2 {
					return h.bad("tensor %q has %d data_offsets instead of 2", e.Name, len(offsets))
				}
				e.begin, e.end = offsets[0], offsets[1]
			}
		default:
			return h.bad("tensor %q has an unknown field %q", e.Name, field)
		}
		if err != nil {
			return err
		}
	}
	if seen != 3 { // the decoder refused duplicates, so three fields are the three known ones
		return h.bad("tensor %q lacks one of dtype, shape, data_offsets", e.Name)
	}
	return h.open('}')
}

func (h headerReader) dtype(e *entry) error {
	s, err := h.str()
	e.DType = DType(s)
	switch {
	case err != nil:
		return err
	case packed[e.DType]:
		return h.bad("tensor %q has the packed element type %s", e.Name, s).Of(usererr.Unsupported)
	case e.DType.Size() == 0:
		return h.bad("tensor %q has the unknown element type %q", e.Name, s)
	}
	return nil
}

// integers reads an array of non-negative integers.
func (h headerReader) integers() ([]uint64, error) {
	if err := h.open('['); err != nil {
		return nil, err
	}
	var out []uint64
	for h.PeekKind() != ']' {
		token, err := h.token('0')
		if err != nil {
			return nil, err
		}
		v, err := strconv.ParseUint(token, 10, 64)
		if err != nil {
			return nil, h.bad("%s is no integer from 0 to 2^64-1", token)
		}
		out = append(out, v)
	}
	return out, h.open(']')
}

func (h headerReader) str() (string, error) { return h.token('"') }

// open consumes a bracket, or null.
func (h headerReader) open(kind jsontext.Kind) error {
	_, err := h.token(kind)
	return err
}

func (h headerReader) token(kind jsontext.Kind) (string, error) {
	token, err := h.ReadToken()
	var syntax *jsontext.SyntacticError
	switch {
	case errors.As(err, &syntax):
		return "", bad(h.path, 8+syntax.ByteOffset, "the header is no valid JSON at %q: %w", syntax.JSONPointer, syntax.Err)
	case errors.Is(err, io.EOF):
		return "", h.bad("the header is no valid JSON: %w", io.ErrUnexpectedEOF)
	case err != nil:
		return "", h.bad("%w", err)
	case token.Kind() != kind:
		return "", h.bad("the header has a %v where a %v belongs", token.Kind(), kind)
	}
	return token.String(), nil
}

// offset is the place in the file behind the last token.
func (h headerReader) offset() int64 { return 8 + h.InputOffset() }

func (h headerReader) bad(format string, args ...any) *usererr.Error {
	return bad(h.path, h.offset(), "%w", fmt.Errorf(format, args...))
}
