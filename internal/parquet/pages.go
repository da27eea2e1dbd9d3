//go:build !js

package parquet

import (
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// pages reads the pages of a column in one row group.
type pages struct {
	leaf    *node
	in      io.ReaderAt
	meta    *format.ColumnMetaData
	at, end int64 // the next page and the end of the last, in the file

	dictionary *values
	page       int64  // bytes of the page
	held       *int64 // bytes of pages and dictionaries that all columns hold
	err        error  // of what is said of the pages
}

func newPages(f *File, leaf *node, meta *format.ColumnMetaData, held *int64) *pages {
	s := &pages{leaf: leaf, in: f.in, meta: meta, held: held, at: meta.DataPageOffset}
	if d := meta.DictionaryPageOffset; d > 0 && (d < s.at || s.at == 0) {
		s.at = d
	}
	if s.at < 0 || s.at > f.size || meta.TotalCompressedSize < 0 || meta.TotalCompressedSize > f.size-s.at {
		s.err = fmt.Errorf("its pages are said to be %d bytes at %d, in a file of %d", meta.TotalCompressedSize, s.at, f.size)
	}
	s.end = s.at + meta.TotalCompressedSize
	return s
}

// next reads the next page of values, and the dictionary in front of it; io.EOF: there is none.
func (s *pages) next() (*page, error) {
	for s.err == nil && s.at < s.end {
		h, err := s.header()
		if err != nil {
			return nil, err
		}
		size, packed := int64(h.UncompressedPageSize), int64(h.CompressedPageSize)
		switch {
		case size < 0 || packed < 0 || packed > s.end-s.at:
			return nil, fmt.Errorf("a page of %d bytes, %d of them packed, where %d are left", size, packed, s.end-s.at)
		case size > maxPage || packed > maxPage:
			return nil, fmt.Errorf("a page of %d bytes: the most is %d", max(size, packed), maxPage)
		}
		if h.Type != format.DictionaryPage && h.Type != format.DataPage && h.Type != format.DataPageV2 {
			s.at += packed // an index
			continue
		}
		*s.held += size - s.page
		if s.page = size; h.Type == format.DictionaryPage {
			s.page = 0 // it stays
		}
		if *s.held > maxHeld {
			return nil, fmt.Errorf("the pages of its row group that are read together have more than %d bytes", maxHeld)
		}
		body := make([]byte, packed)
		if err := readAt(s.in, body, s.at); err != nil {
			return nil, err
		}
		s.at += packed
		if p, err := s.open(h, body); p != nil || err != nil {
			return p, err
		}
	}
	if s.err == nil {
		return nil, io.EOF
	}
	return nil, s.err
}

// header reads that of the page at s.at, and moves behind it. Statistics make some of them long.
func (s *pages) header() (*format.PageHeader, error) {
	const first, most = 1 << 10, 16 << 20
	for length := int64(first); ; length *= 8 {
		data := make([]byte, min(length, s.end-s.at))
		if err := readAt(s.in, data, s.at); err != nil {
			return nil, err
		}
		n, err := checkThrift(data)
		if errors.Is(err, errShort) && length < min(most, s.end-s.at) {
			continue
		}
		h := new(format.PageHeader)
		if err == nil {
			err = thrift.NewDecoder(new(thrift.CompactProtocol).NewReaderFromBytes(data[:n])).Decode(h)
		}
		if err != nil {
			return nil, fmt.Errorf("the header of a page is damaged: %w", err)
		}
		s.at += int64(n)
		return h, nil
	}
}

// open checks a page and decodes what is in it; of a dictionary there is no page.
func (s *pages) open(h *format.PageHeader, body []byte) (*page, error) {
	size := int(h.UncompressedPageSize)
	switch {
	case h.Type == format.DictionaryPage && h.DictionaryPageHeader.Valid:
		return nil, s.openDictionary(&h.DictionaryPageHeader.V, body, size)
	case h.Type == format.DataPage && h.DataPageHeader.Valid:
		return s.openPage1(&h.DataPageHeader.V, body, size)
	case h.Type == format.DataPageV2 && h.DataPageHeaderV2.Valid:
		return s.openPage2(&h.DataPageHeaderV2.V, body, size)
	}
	return nil, errors.New("a page without a header of its values")
}

func (s *pages) guard(count int32) guard {
	return guard{leaf: s.leaf, values: int(count), dictionary: s.dictionary != nil}
}

func (s *pages) openDictionary(d *format.DictionaryPageHeader, body []byte, size int) error {
	data, err := unpack(s.meta.Codec, body, size)
	switch {
	case err != nil:
		return err
	case s.dictionary != nil:
		return errors.New("it has two dictionaries")
	case d.Encoding != format.Plain && d.Encoding != plainDictionary:
		return fmt.Errorf("its dictionary is encoded as %s", d.Encoding)
	}
	if err := s.guard(d.NumValues).plain(int(d.NumValues), data); err != nil {
		return err
	}
	s.dictionary, err = decode(s.leaf.element, format.Plain, data, nil)
	return err
}

// openPage1 opens a page of the first version: levels with their length in front, then values.
func (s *pages) openPage1(d *format.DataPageHeader, body []byte, size int) (*page, error) {
	data, err := unpack(s.meta.Codec, body, size)
	if err != nil {
		return nil, err
	}
	var parts [2][]byte
	for i, level := range []struct {
		most     int
		encoding format.Encoding
	}{{s.leaf.repeats, d.RepetitionLevelEncoding}, {s.leaf.definition, d.DefinitionLevelEncoding}} {
		if level.most == 0 {
			continue
		}
		if level.encoding != format.RLE {
			return nil, fmt.Errorf("its levels are encoded as %s", level.encoding)
		}
		if parts[i], data, err = prefixed(data); err != nil {
			return nil, err
		}
	}
	return s.decode(d.NumValues, parts, data, d.Encoding)
}

// openPage2 opens a page of the second version, of which the levels are never packed.
func (s *pages) openPage2(d *format.DataPageHeaderV2, body []byte, size int) (*page, error) {
	repetition, definition := int64(d.RepetitionLevelsByteLength), int64(d.DefinitionLevelsByteLength)
	levels := repetition + definition
	if repetition < 0 || definition < 0 || levels > int64(min(len(body), size)) {
		return nil, fmt.Errorf("levels of %d bytes in a page of %d", levels, len(body))
	}
	data := body[levels:]
	if !d.IsCompressed.Valid || d.IsCompressed.V {
		var err error
		if data, err = unpack(s.meta.Codec, data, size-int(levels)); err != nil {
			return nil, err
		}
	}
	return s.decode(d.NumValues, [2][]byte{body[:repetition], body[repetition:levels]}, data, d.Encoding)
}

// decode reads a page from the parts of its levels and its values, once they are checked.
func (s *pages) decode(count int32, levels [2][]byte, data []byte, code format.Encoding) (*page, error) {
	if err := s.guard(count).page(levels, data, code); err != nil {
		return nil, err
	}
	return decodePage(s.leaf, int(count), levels[0], levels[1], data, code, s.dictionary)
}
