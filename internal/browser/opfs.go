//go:build js

package browser

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"syscall/js"

	"qlora-wgpu/internal/checkpoint"
)

// Store keeps files in the origin's private file system. It implements checkpoint.Store and trainer.Output. Names are
// relative paths.
type Store struct{ root js.Value }

// OpenStore opens the origin's file system; private windows of some browsers have none.
func OpenStore(ctx context.Context) (*Store, error) {
	storage := js.Global().Get("navigator").Get("storage")
	if !storage.Truthy() || storage.Get("getDirectory").Type() != js.TypeFunction {
		return nil, errors.New("this browser has no private file system")
	}
	root, err := Await(ctx, storage.Call("getDirectory"))
	if err != nil {
		return nil, fmt.Errorf("open the browser's private file system: %w", err)
	}
	return &Store{root}, nil
}

// wait awaits what a handle's method gives; a missing name is fs.ErrNotExist.
func wait(op, name string, handle js.Value, method string, args ...any) (js.Value, error) {
	value, err := Await(context.Background(), handle.Call(method, args...))
	if err == nil {
		return value, nil
	}
	if strings.HasPrefix(err.Error(), "NotFoundError") {
		err = fs.ErrNotExist
	}
	return js.Undefined(), &fs.PathError{Op: op, Path: name, Err: err}
}

// dir walks to a folder.
func (s *Store) dir(name string, create bool) (js.Value, error) {
	at := s.root
	for part := range strings.SplitSeq(path.Clean(name), "/") {
		if part == "." || part == "" {
			continue
		}
		next, err := wait("open", name, at, "getDirectoryHandle", part, map[string]any{"create": create})
		if err != nil {
			return js.Undefined(), err
		}
		at = next
	}
	return at, nil
}

func (s *Store) file(op, name string, create bool) (js.Value, error) {
	dir, err := s.dir(path.Dir(name), false)
	if err != nil {
		return js.Undefined(), err
	}
	return wait(op, name, dir, "getFileHandle", path.Base(name), map[string]any{"create": create})
}

// MakeDir implements checkpoint.Store.
func (s *Store) MakeDir(dir string) error {
	_, err := s.dir(dir, true)
	return err
}

// Create implements checkpoint.Store.
func (s *Store) Create(name string) (checkpoint.Writer, error) { return s.writer("create", name, true) }

// Append implements trainer.Output.
func (s *Store) Append(name string) (checkpoint.Writer, error) {
	return s.writer("append", name, false)
}

func (s *Store) writer(op, name string, empty bool) (checkpoint.Writer, error) {
	file, err := s.file(op, name, true)
	if err != nil {
		return nil, err
	}
	handle, err := wait(op, name, file, "createSyncAccessHandle")
	if err != nil {
		return nil, err
	}
	w := &writer{handle: handle, name: name}
	if empty {
		_, err = try(func() js.Value { return handle.Call("truncate", 0) })
	} else {
		w.at = int64(handle.Call("getSize").Float())
	}
	if err != nil {
		w.Close()
		return nil, &fs.PathError{Op: op, Path: name, Err: err}
	}
	return w, nil
}

// writer writes through a handle that no other tab can hold at the same time.
type writer struct {
	handle js.Value
	name   string
	at     int64
}

func (w *writer) Write(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	bytes := js.Global().Get("Uint8Array").New(len(p))
	js.CopyBytesToJS(bytes, p)
	n, err := try(func() js.Value { return w.handle.Call("write", bytes, map[string]any{"at": w.at}) })
	if err == nil && n.Int() < len(p) {
		err = errors.New("the browser's storage is full")
	}
	if err != nil {
		return 0, &fs.PathError{Op: "write", Path: w.name, Err: err}
	}
	w.at += int64(len(p))
	return len(p), nil
}

func (w *writer) Sync() error {
	_, err := try(func() js.Value { return w.handle.Call("flush") })
	return err
}

func (w *writer) Close() error {
	_, err := try(func() js.Value { return w.handle.Call("close") })
	return err
}

// Open implements checkpoint.Store.
func (s *Store) Open(name string) (checkpoint.Reader, error) {
	file, err := s.file("open", name, false)
	if err != nil {
		return nil, err
	}
	blob, err := wait("open", name, file, "getFile")
	if err != nil {
		return nil, err
	}
	return NewBlob(blob), nil
}

// List implements checkpoint.Store.
func (s *Store) List(name string) (names []string, err error) {
	dir, err := s.dir(name, false)
	if err != nil {
		return nil, err
	}
	for keys := dir.Call("keys"); ; {
		next, err := wait("list", name, keys, "next")
		if err != nil {
			return nil, err
		}
		if next.Get("done").Bool() {
			return names, nil
		}
		names = append(names, next.Get("value").String())
	}
}

// Rename implements checkpoint.Store. Folders cannot be renamed here: their files are copied, manifest.json last, and
// then the old folder goes.
func (s *Store) Rename(from, to string) error {
	if _, err := s.dir(from, false); err != nil {
		return s.moveFile(from, to)
	}
	names, err := s.List(from)
	if err != nil {
		return err
	}
	if err := s.MakeDir(to); err != nil {
		return err
	}
	const last = "manifest.json"
	for _, manifest := range []bool{false, true} {
		for _, name := range names {
			if (name == last) == manifest {
				if err := s.copyFile(path.Join(from, name), path.Join(to, name)); err != nil {
					return err
				}
			}
		}
	}
	return s.Remove(from)
}

// CopiesFolders implements checkpoint.Copier.
func (s *Store) CopiesFolders() {}

func (s *Store) moveFile(from, to string) error {
	file, err := s.file("rename", from, false)
	if err != nil {
		return err
	}
	if file.Get("move").Type() == js.TypeFunction {
		dir, err := s.dir(path.Dir(to), false)
		if err == nil {
			_, err = wait("rename", from, file, "move", dir, path.Base(to))
		}
		return err
	}
	if err := s.copyFile(from, to); err != nil {
		return err
	}
	return s.Remove(from)
}

func (s *Store) copyFile(from, to string) error {
	r, err := s.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := s.Create(to)
	if err != nil {
		return err
	}
	piece := make([]byte, min(window, r.Size()))
	for at := int64(0); at < r.Size() && err == nil; at += window {
		part := piece[:min(window, r.Size()-at)]
		if _, err = r.ReadAt(part, at); err == nil {
			_, err = w.Write(part)
		}
	}
	if err == nil {
		err = w.Sync()
	}
	if closed := w.Close(); err == nil {
		err = closed
	}
	return err
}

// Remove implements checkpoint.Store.
func (s *Store) Remove(name string) error {
	dir, err := s.dir(path.Dir(name), false)
	if err == nil {
		_, err = wait("remove", name, dir, "removeEntry", path.Base(name), map[string]any{"recursive": true})
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// SyncDir implements checkpoint.Store: the browser keeps its folders itself.
func (s *Store) SyncDir(string) error { return nil }

// Free implements checkpoint.Store.
func (s *Store) Free(string) (int64, error) {
	estimate, err := Await(context.Background(), js.Global().Get("navigator").Get("storage").Call("estimate"))
	if err != nil {
		return -1, nil
	}
	return int64(estimate.Get("quota").Float() - estimate.Get("usage").Float()), nil
}
