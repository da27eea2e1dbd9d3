//go:build js

package browser

import (
	"errors"
	"fmt"
	"io"
	"syscall/js"
)

// window is how much of a blob is held to answer small reads: a call into the browser costs as much as many kilobytes.
const window = 1 << 20

// ErrUnreadable says that a file cannot be read any more.
var ErrUnreadable = errors.New("the browser cannot read the file any more, it may have changed or moved")

// Blob is a file that stays with the browser, on disk or in its memory: only what is asked for, and one window, enters
// the Go heap. It can be read only in a dedicated worker.
type Blob struct {
	value js.Value
	size  int64
	held  []byte // the blob's bytes from at on
	at    int64
}

// NewBlob wraps a JavaScript Blob or File.
func NewBlob(value js.Value) *Blob {
	return &Blob{value: value, size: int64(value.Get("size").Float())}
}

// Size is the blob's length in bytes.
func (b *Blob) Size() int64 { return b.size }

// Close drops the window.
func (b *Blob) Close() error {
	b.held = nil
	return nil
}

// ReadAt reads like a file. It does not wait for other tasks of the worker, so it may be called from several
// goroutines.
func (b *Blob) ReadAt(dst []byte, at int64) (int, error) {
	if at < 0 || at >= b.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(dst)), b.size-at))
	switch {
	case n == 0:
		return 0, nil
	case n >= window:
		for done := 0; done < n; done += window {
			part := dst[done:min(done+window, n)]
			if err := b.read(part, at+int64(done)); err != nil {
				return done, err
			}
		}
	default:
		if at < b.at || at+int64(n) > b.at+int64(len(b.held)) {
			held := make([]byte, min(window, b.size-at))
			if err := b.read(held, at); err != nil {
				return 0, err
			}
			b.held, b.at = held, at
		}
		copy(dst[:n], b.held[at-b.at:])
	}
	if n < len(dst) {
		return n, io.EOF
	}
	return n, nil
}

// read fills dst from at on.
func (b *Blob) read(dst []byte, at int64) error {
	buffer, err := try(func() js.Value {
		slice := b.value.Call("slice", at, at+int64(len(dst)))
		return js.Global().Get("FileReaderSync").New().Call("readAsArrayBuffer", slice)
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrUnreadable, err)
	}
	if n := js.CopyBytesToGo(dst, js.Global().Get("Uint8Array").New(buffer)); n < len(dst) {
		return io.ErrUnexpectedEOF
	}
	return nil
}

// Bytes reads all of it.
func (b *Blob) Bytes() ([]byte, error) {
	data := make([]byte, b.size)
	if _, err := b.ReadAt(data, 0); err != nil && err != io.EOF { // which is where an empty one begins
		return nil, err
	}
	return data, nil
}
