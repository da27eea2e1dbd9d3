package checkpoint

import (
	"errors"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

var (
	errCrash = errors.New("the machine stopped")
	errFull  = errors.New("no space left on device")
	errStuck = errors.New("somebody has it open")
)

// memory is a Store that knows what a crash would lose: for each file the bytes of its last Sync, for each folder the
// names of its last SyncDir. It fails from its failAt-th operation on (or at that one only), counting from 1.
type memory struct {
	root       *node
	operations int
	failAt     int
	failOnce   bool
	capacity   int64 // bytes, 0: unlimited
	freeLies   bool  // Free does not know the capacity
	stuck      *node // cannot be removed
}

type node struct {
	folder          bool
	entries, synced map[string]*node
	data, durable   []byte
}

func newFolder() *node {
	return &node{folder: true, entries: map[string]*node{}, synced: map[string]*node{}}
}

func newMemory() *memory { return &memory{root: newFolder()} }

func (m *memory) step() error {
	m.operations++
	if m.failAt > 0 && (m.operations == m.failAt || m.operations > m.failAt && !m.failOnce) {
		return errCrash
	}
	return nil
}

// reboot gives the store as it is after a crash, with all that was not synced kept or lost.
func (m *memory) reboot(loseUnsynced bool) *memory {
	return &memory{root: m.root.copy(loseUnsynced)}
}

func (n *node) copy(loseUnsynced bool) *node {
	if !n.folder {
		data := n.data
		if loseUnsynced {
			data = n.durable
		}
		return &node{data: slices.Clone(data), durable: slices.Clone(data)}
	}
	entries := n.entries
	if loseUnsynced {
		entries = n.synced
	}
	c := newFolder()
	for name, child := range entries {
		c.entries[name] = child.copy(loseUnsynced)
	}
	c.synced = maps.Clone(c.entries)
	return c
}

func (m *memory) find(name string) *node {
	n := m.root
	for part := range strings.SplitSeq(path.Clean(name), "/") {
		if n == nil || !n.folder {
			return nil
		}
		n = n.entries[part]
	}
	return n
}

func (m *memory) MakeDir(dir string) error {
	if err := m.step(); err != nil {
		return err
	}
	n := m.root
	for part := range strings.SplitSeq(dir, "/") {
		if n.entries[part] == nil {
			n.entries[part] = newFolder()
			n.synced[part] = n.entries[part]
		}
		n = n.entries[part]
	}
	return nil
}

func (m *memory) Create(name string) (Writer, error) {
	if err := m.step(); err != nil {
		return nil, err
	}
	parent := m.find(path.Dir(name))
	if parent == nil {
		return nil, fs.ErrNotExist
	}
	n := &node{}
	parent.entries[path.Base(name)] = n
	return memoryFile{m, n}, nil
}

func (m *memory) Open(name string) (Reader, error) {
	if err := m.step(); err != nil {
		return nil, err
	}
	n := m.find(name)
	if n == nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return memoryFile{m, n}, nil
}

func (m *memory) List(dir string) ([]string, error) {
	if err := m.step(); err != nil {
		return nil, err
	}
	n := m.find(dir)
	if n == nil {
		return nil, fs.ErrNotExist
	}
	return slices.Collect(maps.Keys(n.entries)), nil
}

func (m *memory) Rename(from, to string) error {
	if err := m.step(); err != nil {
		return err
	}
	if old := m.find(to); old != nil && old.folder {
		return fs.ErrExist
	}
	n := m.find(from)
	if n == m.stuck {
		return errStuck
	}
	delete(m.find(path.Dir(from)).entries, path.Base(from))
	m.find(path.Dir(to)).entries[path.Base(to)] = n
	return nil
}

// Remove is one operation per file and folder, so that a crash leaves folders half removed.
func (m *memory) Remove(name string) error {
	n := m.find(name)
	if n == nil {
		return m.step()
	}
	if n == m.stuck {
		return errStuck
	}
	for _, child := range slices.Sorted(maps.Keys(n.entries)) {
		if err := m.Remove(path.Join(name, child)); err != nil {
			return err
		}
	}
	if err := m.step(); err != nil {
		return err
	}
	delete(m.find(path.Dir(name)).entries, path.Base(name))
	return nil
}

func (m *memory) SyncDir(dir string) error {
	if err := m.step(); err != nil {
		return err
	}
	n := m.find(dir)
	n.synced = maps.Clone(n.entries)
	return nil
}

func (m *memory) Free(string) (int64, error) {
	if err := m.step(); err != nil {
		return 0, err
	}
	if m.capacity == 0 || m.freeLies {
		return -1, nil
	}
	return m.capacity - m.root.size(), nil
}

func (n *node) size() int64 {
	total := int64(len(n.data))
	for _, child := range n.entries {
		total += child.size()
	}
	return total
}

type memoryFile struct {
	store *memory
	node  *node
}

func (f memoryFile) Write(p []byte) (int, error) {
	if err := f.store.step(); err != nil {
		n := len(p) / 2
		f.node.data = append(f.node.data, p[:n]...)
		return n, err
	}
	if c := f.store.capacity; c > 0 && f.store.root.size()+int64(len(p)) > c {
		return 0, errFull
	}
	f.node.data = append(f.node.data, p...)
	return len(p), nil
}

func (f memoryFile) Sync() error {
	if err := f.store.step(); err != nil {
		return err
	}
	f.node.durable = slices.Clone(f.node.data)
	return nil
}

func (f memoryFile) ReadAt(p []byte, off int64) (int, error) {
	if err := f.store.step(); err != nil {
		return 0, err
	}
	return strings.NewReader(string(f.node.data)).ReadAt(p, off)
}

func (f memoryFile) Size() int64  { return int64(len(f.node.data)) }
func (f memoryFile) Close() error { return nil }
