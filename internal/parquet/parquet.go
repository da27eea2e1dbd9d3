//go:build !js

// Package parquet reads the rows of a Parquet file as JSON values. The format, Thrift and encodings are
// github.com/parquet-go/parquet-go's; what a file can make it allocate is bounded here first, page by page: footers,
// pages, runs of equal values and what is unpacked may claim sizes that have nothing to do with the bytes that are
// there. Not for the browser.
package parquet

import (
	"encoding/binary"
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Magic is how a file begins and ends.
const Magic = "PAR1"

const (
	maxFooter = 64 << 20  // bytes of the description at the file's end
	maxPage   = 128 << 20 // bytes of a page, packed or not; writers make them of 1 to 100 MiB
	maxHeld   = 256 << 20 // bytes of pages and dictionaries of all columns at a time
	maxValues = 16 << 20  // of a page

	maxColumns = 10_000
)

// Row is one row of a file.
type Row struct {
	Values []jsontext.Value // by column, in the order of File.Columns; valid until the next row
	Group  int              // row group, from 0
	Index  int              // within the row group, from 0
}

// Place is where the row stands.
func (r Row) Place() string { return fmt.Sprintf("row group %d, row %d", r.Group, r.Index) }

// Fault is what is wrong with a file, and where.
type Fault struct {
	Place string // "row group 2, row 17"; empty: the whole file
	Err   error
}

func (f *Fault) Error() string { return strings.TrimPrefix(f.Place+": ", ": ") + f.Err.Error() }

// Unwrap implements errors.Unwrap.
func (f *Fault) Unwrap() error { return f.Err }

// File is a file whose description has been read.
type File struct {
	Columns []string // the names of the columns

	in     io.ReaderAt
	size   int64
	groups []format.RowGroup
	root   *node
	leaves []*node
}

// Open reads the description of a file of size bytes. Errors are a *Fault, or in's.
func Open(in io.ReaderAt, size int64) (f *File, err error) {
	defer caught("", &err)
	fail := func(format string, args ...any) (*File, error) { return nil, &Fault{Err: fmt.Errorf(format, args...)} }
	const ends = len(Magic) + 4
	if size < int64(len(Magic)+ends) {
		return fail("it is cut off: it has %d bytes", size)
	}
	end := make([]byte, ends)
	if err := readAt(in, end, size-int64(ends)); err != nil {
		return nil, err
	}
	if magic := string(end[4:]); magic == "PARE" {
		return fail("it is encrypted")
	} else if magic != Magic {
		return fail("it is cut off: it does not end as a Parquet file does")
	}
	length := int64(binary.LittleEndian.Uint32(end))
	if length > min(maxFooter, size-int64(len(Magic)+ends)) {
		return fail("its description is said to have %d bytes", length)
	}
	footer := make([]byte, length)
	if err := readAt(in, footer, size-int64(ends)-length); err != nil {
		return nil, err
	}
	if _, err := checkThrift(footer); err != nil {
		return fail("its description is damaged: %w", err)
	}
	var meta format.FileMetaData
	if err := thrift.NewDecoder(new(thrift.CompactProtocol).NewReaderFromBytes(footer)).Decode(&meta); err != nil {
		return fail("its description is damaged: %w", err)
	}
	if meta.EncryptionAlgorithm.Value != nil {
		return fail("it is encrypted")
	}
	f = &File{in: in, size: size, groups: meta.RowGroups}
	if f.root, f.leaves, err = schemaOf(meta.Schema); err != nil {
		return fail("its columns cannot be read: %w", err)
	}
	for _, c := range f.root.children {
		f.Columns = append(f.Columns, c.name)
	}
	return f, nil
}

// Rows hands on each row, in the file's order; maxRow is how many bytes a row may have as JSON. Errors are a *Fault,
// row's, or in's.
func (f *File) Rows(maxRow int, row func(Row) error) error {
	for i := range f.groups {
		if err := f.rowsOf(i, maxRow, row); err != nil {
			return err
		}
	}
	return nil
}

func (f *File) rowsOf(group, maxRow int, row func(Row) error) error {
	g := &f.groups[group]
	if len(g.Columns) != len(f.leaves) || g.NumRows < 0 {
		err := fmt.Errorf("it has %d columns and %d rows, the file has %d columns", len(g.Columns), g.NumRows, len(f.leaves))
		return &Fault{fmt.Sprintf("row group %d", group), err}
	}
	held := int64(0)
	columns := make([]*column, len(f.leaves))
	for i, leaf := range f.leaves {
		columns[i] = &column{leaf: leaf, pages: newPages(f, leaf, &g.Columns[i].MetaData, &held)}
	}
	r := Row{Group: group}
	b := builder{most: maxRow, values: make([][]value, len(columns))}
	for ; int64(r.Index) < g.NumRows; r.Index++ {
		if err := f.next(&r, columns, &b); err != nil {
			return err
		}
		if err := row(r); err != nil {
			return err
		}
	}
	for _, c := range columns {
		if err := c.ended(r.Place()); err != nil {
			return err
		}
	}
	return nil
}

// next reads a row.
func (f *File) next(r *Row, columns []*column, b *builder) (err error) {
	defer caught(r.Place(), &err)
	for i, c := range columns {
		if b.values[i], err = c.row(); err != nil {
			return at(r.Place(), err, c.leaf)
		}
	}
	if r.Values, err = b.row(f.root); err != nil {
		return &Fault{r.Place(), err}
	}
	return nil
}

func at(place string, err error, leaf *node) error {
	var broken *readError
	if errors.As(err, &broken) {
		return broken
	}
	return &Fault{place, fmt.Errorf("column %q: %w", leaf.path, err)}
}

// readError is one of the file itself, and not of what is in it.
type readError struct{ err error }

func (e *readError) Error() string { return e.err.Error() }
func (e *readError) Unwrap() error { return e.err }

func readAt(in io.ReaderAt, p []byte, offset int64) error {
	if n, err := in.ReadAt(p, offset); n < len(p) {
		return &readError{err}
	}
	return nil
}

// caught turns a panic of the library's, which is how it finds some kinds of damage, into an error.
func caught(place string, err *error) {
	if recover() != nil {
		*err = &Fault{place, errors.New("its pages are damaged")}
	}
}
