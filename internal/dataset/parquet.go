//go:build !js

package dataset

import (
	"crypto/sha256"
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"io"

	"qlora-wgpu/internal/parquet"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
)

// isParquet tells a file that begins as Parquet does, whatever its name.
func isParquet(file io.ReaderAt) bool {
	start := make([]byte, len(parquet.Magic))
	_, err := file.ReadAt(start, 0)
	return err == nil && string(start) == parquet.Magic
}

// scanParquet passes the rows of a Parquet file of size bytes on, as scan does.
func scanParquet(file io.ReaderAt, size int64, path string, columns settings.Columns, row func(Row) error) (*Source, error) {
	hash := sha256.New()
	if _, err := io.Copy(hash, io.NewSectionReader(file, 0, size)); err != nil {
		return nil, usererr.New(readOp, path, "%w", err)
	}
	b := newBuilder(path, columns, row)
	if c := columns.Container; c != "" && c != "Parquet" {
		return nil, b.otherContainer("a Parquet file")
	}
	return b.finish(hash.Sum(nil), b.readParquet(file, size))
}

func (b *builder) readParquet(file io.ReaderAt, size int64) error {
	b.source.Container, b.nothing = "Parquet", "it has columns alone"
	table, err := parquet.Open(file, size)
	if err != nil {
		return b.failParquet(err)
	}
	names := func() []string { return table.Columns }
	left := max(maxUnpacked, maxRatio*size) // a dictionary's text may be in every row
	return b.failParquet(table.Rows(maxRowBytes, func(r parquet.Row) error {
		const least = 256 // bytes that a row takes when nothing is in it
		row, length := make(fields, len(r.Values)), least
		for i, value := range r.Values {
			length += len(value)
			if deeper(value, maxDepth) {
				return b.fail(r.Place(), fmt.Errorf("column %s is nested deeper than %d levels", quote(table.Columns[i]), maxDepth))
			}
			row[table.Columns[i]] = jsontext.Value(value).Clone()
		}
		if left -= int64(length); left < 0 {
			return b.fail(r.Place(), fmt.Errorf("its rows have more than %d times its size, and more than %d bytes", maxRatio, maxUnpacked))
		}
		return b.add(row, names, r.Place())
	}))
}

// failParquet says of a fault which file has it.
func (b *builder) failParquet(err error) error {
	fault, ok := errors.AsType[*parquet.Fault](err)
	if !ok {
		if _, said := errors.AsType[*usererr.Error](err); err == nil || said || b.unclear != nil {
			return err
		}
		return usererr.New(readOp, b.source.Path, "%w", err)
	}
	e := usererr.New(readOp, b.source.Path, "%w", fault.Err).Of(usererr.Format)
	if fault.Place != "" {
		e = e.At("%s", fault.Place)
	}
	return e
}
