//go:build !js

package dataset

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"compress/gzip"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
)

const (
	// maxRatio and maxUnpacked bound what comes out of a compressed file, whichever is more: texts shrink to a tenth or a
	// twentieth.
	maxRatio    = 200
	maxUnpacked = 1 << 30
	maxWindow   = 128 << 20 // bytes that a zstd file may look back
)

// unpacked gives the text of a compressed file of size bytes, told by its first bytes, and of any other file itself.
func unpacked(file io.Reader, size int64) (text io.Reader, end func(), err error) {
	in := bufio.NewReaderSize(file, sampleBytes)
	start, err := in.Peek(10)
	if err != nil && err != io.EOF {
		return nil, nil, err
	}
	end = func() {}
	switch {
	case bytes.HasPrefix(start, []byte("\x1f\x8b")):
		text, err = gzip.NewReader(in)
	case bytes.HasPrefix(start, []byte("\x28\xb5\x2f\xfd")):
		var z *zstd.Decoder
		if z, err = zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow)); err == nil {
			text, end = z, z.Close
		}
	case bytes.HasPrefix(start, []byte("BZh")) && bytes.Contains(start, []byte("1AY&SY")):
		text = bzip2.NewReader(in)
	default:
		return in, end, nil
	}
	if err != nil {
		return nil, nil, cannotUnpack(err)
	}
	return &unpacking{in: text, left: max(maxUnpacked, maxRatio*size)}, end, nil
}

func cannotUnpack(err error) error { return fmt.Errorf("it cannot be unpacked: %w", err) }

// unpacking bounds what comes out, and says of an error that it is of the compressed file.
type unpacking struct {
	in   io.Reader
	left int64
}

func (u *unpacking) Read(p []byte) (int, error) {
	n, err := u.in.Read(p[:min(int64(len(p)), u.left+1)])
	if u.left -= int64(n); u.left < 0 {
		return 0, cannotUnpack(fmt.Errorf("more than %d times its size comes out, and more than %d bytes", maxRatio, maxUnpacked))
	}
	if err != nil && err != io.EOF {
		err = cannotUnpack(err)
	}
	return n, err
}
