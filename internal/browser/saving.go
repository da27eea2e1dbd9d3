//go:build js

package browser

import (
	"context"
	"fmt"
	"syscall/js"
)

// portion is how much of a file that is written lies in the Go heap: the browser takes it over in pieces of this size.
const portion = 4 << 20

// Saving is a file that the browser makes: where the user chose on the disk, or in a blob. It is no file before Finish.
type Saving struct {
	ctx    context.Context
	stream js.Value // a FileSystemWritableFileStream; undefined: into a blob
	blobs  js.Value // an array of them
	held   []byte
}

// Save begins to write to a FileSystemFileHandle or, where it is undefined or null, a blob. Whoever has begun calls
// Finish or Abort.
func Save(ctx context.Context, to js.Value) (*Saving, error) {
	s := &Saving{ctx: ctx, blobs: js.Global().Get("Array").New()}
	if !to.Truthy() {
		return s, nil
	}
	var err error
	if s.stream, err = Await(context.Background(), to.Call("createWritable")); err != nil {
		return nil, fmt.Errorf("the browser does not open the file: %w", err)
	}
	return s, nil
}

// Write hands bytes over, lets the worker's messages in, and gives ctx's error where one of them cancelled it.
func (s *Saving) Write(data []byte) (int, error) {
	for rest := data; len(rest) > 0; {
		n := min(len(rest), portion-len(s.held))
		s.held, rest = append(s.held, rest[:n]...), rest[n:]
		if len(s.held) == portion {
			if err := s.hand(); err != nil {
				return 0, err
			}
		}
	}
	Yield()
	return len(data), s.ctx.Err()
}

func (s *Saving) hand() error {
	bytes := js.Global().Get("Uint8Array").New(len(s.held))
	js.CopyBytesToJS(bytes, s.held)
	s.held = s.held[:0]
	if s.stream.IsUndefined() {
		s.blobs.Call("push", js.Global().Get("Blob").New([]any{bytes})) // the browser may keep blobs on its disk
		return nil
	}
	if _, err := Await(s.ctx, s.stream.Call("write", bytes)); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// Finish makes it a file, and gives the blob; undefined: it is on the disk.
func (s *Saving) Finish() (js.Value, error) {
	if err := s.hand(); err != nil {
		return js.Undefined(), err
	}
	if s.stream.IsUndefined() {
		return js.Global().Get("Blob").New(s.blobs), nil
	}
	_, err := Await(context.Background(), s.stream.Call("close"))
	if err != nil {
		err = fmt.Errorf("write: %w", err)
	}
	return js.Undefined(), err
}

// Abort drops what was written.
func (s *Saving) Abort() {
	if !s.stream.IsUndefined() {
		_, _ = Await(context.Background(), s.stream.Call("abort")) // a stream that failed is aborted already
	}
}
