package browser

import (
	"bytes"
	"io/fs"
	"path"
	"slices"
	"strings"

	"qlora-wgpu/internal/checkpoint"
)

// Memory keeps files in the tab's memory, where the browser gives no private file system: they are gone with the tab.
// It implements checkpoint.Store and trainer.Output. Names are relative paths; a folder is there once it was made.
type Memory struct {
	files   map[string][]byte
	folders map[string]bool
}

// NewMemory is an empty store.
func NewMemory() *Memory {
	return &Memory{files: map[string][]byte{}, folders: map[string]bool{".": true}}
}

func missing(op, name string) error { return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist} }

// below tells whether a name is dir or lies in it.
func below(name, dir string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }

// MakeDir implements checkpoint.Store.
func (m *Memory) MakeDir(dir string) error {
	for dir = path.Clean(dir); !m.folders[dir]; dir = path.Dir(dir) {
		m.folders[dir] = true
	}
	return nil
}

// Create implements checkpoint.Store.
func (m *Memory) Create(name string) (checkpoint.Writer, error) { return m.write("create", name, nil) }

// Append implements trainer.Output.
func (m *Memory) Append(name string) (checkpoint.Writer, error) {
	return m.write("append", name, m.files[path.Clean(name)])
}

func (m *Memory) write(op, name string, data []byte) (checkpoint.Writer, error) {
	name = path.Clean(name)
	if !m.folders[path.Dir(name)] {
		return nil, missing(op, name)
	}
	m.files[name] = slices.Clone(data)
	return &memoryWriter{m, name}, nil
}

type memoryWriter struct {
	store *Memory
	name  string
}

func (w *memoryWriter) Write(p []byte) (int, error) {
	w.store.files[w.name] = append(w.store.files[w.name], p...)
	return len(p), nil
}

func (w *memoryWriter) Sync() error  { return nil }
func (w *memoryWriter) Close() error { return nil }

type memoryReader struct{ *bytes.Reader }

func (memoryReader) Close() error { return nil }

// Open implements checkpoint.Store.
func (m *Memory) Open(name string) (checkpoint.Reader, error) {
	data, found := m.files[path.Clean(name)]
	if !found {
		return nil, missing("open", name)
	}
	return memoryReader{bytes.NewReader(data)}, nil
}

// List implements checkpoint.Store.
func (m *Memory) List(dir string) (names []string, err error) {
	dir = path.Clean(dir)
	if !m.folders[dir] {
		return nil, missing("list", dir)
	}
	for name := range m.files {
		if path.Dir(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	for name := range m.folders {
		if name != "." && path.Dir(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	return names, nil
}

// Rename implements checkpoint.Store.
func (m *Memory) Rename(from, to string) error {
	from, to = path.Clean(from), path.Clean(to)
	if _, file := m.files[from]; !file && !m.folders[from] {
		return missing("rename", from)
	}
	for name, data := range m.files {
		if below(name, from) {
			delete(m.files, name)
			m.files[to+name[len(from):]] = data
		}
	}
	for name := range m.folders {
		if below(name, from) {
			delete(m.folders, name)
			m.folders[to+name[len(from):]] = true
		}
	}
	return nil
}

// Remove implements checkpoint.Store.
func (m *Memory) Remove(name string) error {
	name = path.Clean(name)
	for each := range m.files {
		if below(each, name) {
			delete(m.files, each)
		}
	}
	for each := range m.folders {
		if below(each, name) {
			delete(m.folders, each)
		}
	}
	return nil
}

// SyncDir implements checkpoint.Store: there is nothing that outlives the tab.
func (m *Memory) SyncDir(string) error { return nil }

// Free implements checkpoint.Store: nobody knows.
func (m *Memory) Free(string) (int64, error) { return -1, nil }
