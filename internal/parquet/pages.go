//go:build !js

package parquet

import (
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// pageStream is the pages of a column in one row group, one behind another, each checked and unpacked: the library,
// which reads it from its beginning to its end, would make room for whatever a page says of itself. It reads it through
// io.ReaderAt; what lies behind it is forgotten.
type pageStream struct {
	leaf    *node
	in      io.ReaderAt
	meta    *format.ColumnMetaData
	at, end int64 // the next page and the end of the last, in the file

	page       []byte // its header and what is in it
	from       int64  // offset of the page in the stream
	dictionary bool   // has been read
	stays      bool   // the page is it
	held       *int64 // bytes of pages and dictionaries that all columns hold
	err        error  // that ended the stream
}

func newPageStream(f *File, leaf *node, meta *format.ColumnMetaData, held *int64) *pageStream {
	s := &pageStream{leaf: leaf, in: f.in, meta: meta, held: held, at: meta.DataPageOffset}
	if d := meta.DictionaryPageOffset; d > 0 && d < s.at {
		s.at = d
	}
	if s.at < 0 || s.at > f.size || meta.TotalCompressedSize < 0 || meta.TotalCompressedSize > f.size-s.at {
		s.err = fmt.Errorf("its pages are said to be %d bytes at %d, in a file of %d", meta.TotalCompressedSize, s.at, f.size)
	}
	s.end = s.at + meta.TotalCompressedSize
	return s
}

// ReadAt implements io.ReaderAt.
func (s *pageStream) ReadAt(p []byte, offset int64) (n int, err error) {
	for n < len(p) {
		behind := offset + int64(n) - s.from
		if behind < 0 {
			return n, errors.New("the stream of pages is read backwards")
		}
		if behind < int64(len(s.page)) {
			n += copy(p[n:], s.page[behind:])
			continue
		}
		if n > 0 {
			break // no page is read before it is asked for
		}
		if s.err == nil {
			s.err = s.next()
		}
		if s.err != nil {
			return n, s.err
		}
	}
	return n, nil
}

// next brings the next page.
func (s *pageStream) next() error {
	if s.at >= s.end {
		return io.EOF
	}
	h, err := s.header()
	if err != nil {
		return err
	}
	size, packed := int64(h.UncompressedPageSize), int64(h.CompressedPageSize)
	switch {
	case size < 0 || packed < 0 || packed > s.end-s.at:
		return fmt.Errorf("a page of %d bytes, %d of them packed, where %d are left", size, packed, s.end-s.at)
	case size > maxPage || packed > maxPage:
		return fmt.Errorf("a page of %d bytes: the most is %d", max(size, packed), maxPage)
	}
	if h.Type != format.DictionaryPage && h.Type != format.DataPage && h.Type != format.DataPageV2 {
		s.at += packed // an index
		return nil
	}
	s.from += int64(len(s.page))
	if !s.stays {
		*s.held -= int64(len(s.page))
	}
	s.page, s.stays = nil, h.Type == format.DictionaryPage
	if *s.held+size > maxHeld {
		return fmt.Errorf("the pages of its row group that are read together have more than %d bytes", maxHeld)
	}
	body := make([]byte, packed)
	if err := readAt(s.in, body, s.at); err != nil {
		return err
	}
	s.at += packed
	if body, err = s.open(h, body); err != nil {
		return err
	}
	h.UncompressedPageSize, h.CompressedPageSize = int32(len(body)), int32(len(body))
	header, err := thrift.Marshal(new(thrift.CompactProtocol), h)
	s.page = append(header, body...)
	*s.held += int64(len(s.page))
	return err
}

// header reads that of the page at s.at, and moves behind it. Statistics make some of them long.
func (s *pageStream) header() (*format.PageHeader, error) {
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

// open checks a page and gives what is in it.
func (s *pageStream) open(h *format.PageHeader, body []byte) ([]byte, error) {
	switch {
	case h.Type == format.DictionaryPage && h.DictionaryPageHeader.Valid:
		return s.openDictionary(&h.DictionaryPageHeader.V, body, int(h.UncompressedPageSize))
	case h.Type == format.DataPage && h.DataPageHeader.Valid:
		data, err := unpack(s.meta.Codec, body, int(h.UncompressedPageSize))
		if err == nil {
			err = s.guard(h.DataPageHeader.V.NumValues).page1(&h.DataPageHeader.V, data)
		}
		return data, err
	case h.Type == format.DataPageV2 && h.DataPageHeaderV2.Valid:
		return s.openPage2(&h.DataPageHeaderV2.V, body, int(h.UncompressedPageSize))
	}
	return nil, errors.New("a page without a header of its values")
}

func (s *pageStream) guard(values int32) guard {
	return guard{leaf: s.leaf, values: int(values), dictionary: s.dictionary}
}

func (s *pageStream) openDictionary(d *format.DictionaryPageHeader, body []byte, size int) ([]byte, error) {
	data, err := unpack(s.meta.Codec, body, size)
	switch {
	case err != nil:
		return nil, err
	case s.dictionary:
		return nil, errors.New("it has two dictionaries")
	case d.Encoding != format.Plain && d.Encoding != plainDictionary:
		return nil, fmt.Errorf("its dictionary is encoded as %s", d.Encoding)
	}
	s.dictionary = true
	return data, s.guard(d.NumValues).plain(int(d.NumValues), data)
}

// openPage2 opens a page of the second version, of which the levels are never packed.
func (s *pageStream) openPage2(d *format.DataPageHeaderV2, body []byte, size int) ([]byte, error) {
	levels := int64(d.RepetitionLevelsByteLength) + int64(d.DefinitionLevelsByteLength)
	switch {
	case d.RepetitionLevelsByteLength < 0 || d.DefinitionLevelsByteLength < 0 || levels > int64(min(len(body), size)):
		return nil, fmt.Errorf("levels of %d bytes in a page of %d", levels, len(body))
	case d.NumNulls < 0 || d.NumNulls > d.NumValues:
		return nil, fmt.Errorf("%d of %d values of a page are null", d.NumNulls, d.NumValues)
	}
	data := body
	if !d.IsCompressed.Valid || d.IsCompressed.V {
		values, err := unpack(s.meta.Codec, body[levels:], size-int(levels))
		if err != nil {
			return nil, err
		}
		data = append(body[:levels:levels], values...)
	}
	d.IsCompressed.Valid, d.IsCompressed.V = true, false
	return data, s.guard(d.NumValues).page2(d, data)
}
