//go:build !js

package parquet

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// unpack gives the size bytes that are packed in data, and makes room for no more.
func unpack(codec format.CompressionCodec, data []byte, size int) (out []byte, err error) {
	wrong := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("a page cannot be unpacked (%s): %w", codec, err)
	}
	var in io.Reader
	switch codec {
	case format.Uncompressed:
		if len(data) != size {
			return wrong(fmt.Errorf("it has %d bytes instead of %d", len(data), size))
		}
		return data, nil
	case format.Snappy:
		n, err := snappy.DecodedLen(data)
		if err == nil && n != size {
			err = fmt.Errorf("%d bytes come out instead of %d", n, size)
		}
		if err != nil {
			return wrong(err)
		}
		if out, err = snappy.Decode(make([]byte, size), data); err != nil {
			return wrong(err)
		}
		return out, nil
	case format.Lz4Raw:
		out = make([]byte, size)
		if n, err := lz4.UncompressBlock(data, out); err != nil || n != size {
			return wrong(errors.Join(err, fmt.Errorf("%d bytes come out instead of %d", n, size)))
		}
		return out, nil
	case format.Gzip:
		if in, err = gzip.NewReader(bytes.NewReader(data)); err != nil {
			return wrong(err)
		}
	case format.Zstd:
		z, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxPage),
			zstd.WithDecoderLowmem(true))
		if err != nil {
			return wrong(err)
		}
		defer z.Close()
		in = z
	case format.Brotli:
		in = brotli.NewReader(bytes.NewReader(data))
	default:
		return wrong(errors.New("this is not read: write the file again with zstd or snappy"))
	}
	out = make([]byte, size)
	if _, err := io.ReadFull(in, out); err != nil {
		return wrong(err)
	}
	if n, err := in.Read(make([]byte, 1)); n > 0 || err != io.EOF {
		return wrong(fmt.Errorf("more than %d bytes come out", size))
	}
	return out, nil
}
