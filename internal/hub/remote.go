//go:build !js

package hub

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Remote reads files of a repository where they are, a piece at a time: what describes a model is a thousandth of it.
type Remote struct {
	hub     *Hub
	ctx     context.Context
	name    Name
	listing Listing
	fetched atomic.Int64
}

// Remote gives the files of a repository, which are read until ctx ends. Errors are *usererr.Error and ctx's.
func (h *Hub) Remote(ctx context.Context, n Name) (*Remote, error) {
	l, err := h.List(ctx, n)
	return &Remote{hub: h, ctx: ctx, name: n, listing: l}, err
}

// IsFolder tells whether the repository holds a model as a folder, and not as GGUF files.
func (r *Remote) IsFolder() bool {
	return has(r.listing.Files, configFile) && slices.ContainsFunc(r.listing.Files, isSafetensors)
}

// Size is the bytes of all files that make the model, as Model would fetch them without leaving out a shard.
func (r *Remote) Size() (bytes int64) {
	for _, f := range r.listing.Files {
		if f.Name == weights || !has(r.listing.Files, weights) && shard.MatchString(f.Name) {
			bytes += f.Size
		}
	}
	return bytes
}

// Fetched is how many bytes of files have come.
func (r *Remote) Fetched() int64 { return r.fetched.Load() }

// List gives the names of the files of a folder, none where there is no such folder.
func (r *Remote) List(folder string) (names []string, err error) {
	prefix := ""
	if folder != "" && folder != "." {
		prefix = folder + "/"
	}
	for _, f := range r.listing.Files {
		if rest, below := strings.CutPrefix(f.Name, prefix); below && !strings.Contains(rest, "/") {
			names = append(names, rest)
		}
	}
	return names, nil
}

// Open gives a file; an absent one is fs.ErrNotExist.
func (r *Remote) Open(name string) (*RemoteFile, error) {
	for _, f := range r.listing.Files {
		if f.Name == name {
			return &RemoteFile{remote: r, file: f}, nil
		}
	}
	return nil, fs.ErrNotExist
}

// RemoteFile is a file of a repository. ReadAt asks for what it does not hold, and for some bytes behind.
type RemoteFile struct {
	remote *Remote
	file   File

	mu    sync.Mutex
	first int64 // of held
	held  []byte
}

// ahead is how many bytes are asked for at least: the header of a file of weights has some ten thousand.
const ahead = 64 << 10

// Size implements pretrained.File.
func (f *RemoteFile) Size() int64 { return f.file.Size }

// Close implements io.Closer.
func (f *RemoteFile) Close() error { return nil }

// ReadAt implements io.ReaderAt. Errors beside io.EOF are *usererr.Error and the context's.
func (f *RemoteFile) ReadAt(dst []byte, at int64) (int, error) {
	if at < 0 || at >= f.file.Size {
		return 0, io.EOF
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	want := min(int64(len(dst)), f.file.Size-at)
	if at < f.first || at+want > f.first+int64(len(f.held)) {
		if err := f.fetch(at, min(max(want, ahead), f.file.Size-at)); err != nil {
			return 0, f.remote.hub.explain(f.remote.name, fmt.Errorf("%s: %w", f.file.Name, err))
		}
	}
	n := copy(dst, f.held[at-f.first:])
	if n < len(dst) {
		return n, io.EOF
	}
	return n, nil
}

func (f *RemoteFile) fetch(at, size int64) error {
	r := f.remote
	g := &group{Hub: r.hub, name: r.name, commit: r.listing.Commit}
	buffer := make([]byte, 0, size)
	to := writer(func(p []byte) { buffer = append(buffer, p...) })
	err := g.copyWhole(r.ctx, f.file, func(int64) io.Writer { return to }, at, size)
	r.fetched.Add(int64(len(buffer)))
	if err == nil {
		f.first, f.held = at, buffer
	}
	return err
}

type writer func(p []byte)

func (w writer) Write(p []byte) (int, error) {
	w(p)
	return len(p), nil
}
