//go:build !js

package pretrained

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"

	"github.com/edsrzf/mmap-go"

	"qlora-wgpu/internal/files"
	"qlora-wgpu/internal/gguf"
	"qlora-wgpu/internal/usererr"
)

// Open opens a model on disk: a folder as [OpenFolder] wants it, or a GGUF file, which may be any part of a
// split model.
func Open(path string) (*Model, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, usererr.New(op, path, "%w", bare(err))
	}
	if info.IsDir() {
		return OpenFolder(osFolder(path), path)
	}
	f, err := openFile(path)
	if err != nil {
		return nil, usererr.New(op, path, "%w", bare(err))
	}
	var magic [len(gguf.Magic)]byte
	if _, err := f.ReadAt(magic[:], 0); err != nil || string(magic[:]) != gguf.Magic {
		f.Close()
		return nil, partHint(usererr.New(op, path, "the file is no GGUF").Of(usererr.Format).
			Hinted("give a GGUF file or the folder that holds config.json and the safetensors files"), path)
	}
	if err := f.Close(); err != nil {
		return nil, usererr.New(op, path, "%w", bare(err))
	}
	return OpenGGUF(osFolder(filepath.Dir(path)), filepath.Base(path), path)
}

// bare drops the path, which the error that wraps it names already.
func bare(err error) error {
	var e *fs.PathError
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// osFolder follows symbolic links, which is how the Hugging Face cache lays out a model.
type osFolder string

func (f osFolder) Open(name string) (File, error) {
	file, err := openFile(filepath.Join(string(f), name))
	return file, bare(err)
}

func (f osFolder) List(folder string) (names []string, err error) {
	entries, err := os.ReadDir(filepath.Join(string(f), folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names, err
}

// openFile opens a regular file, as a memory map where the system has them. The size is fixed here: what is appended
// later is not seen, what is cut off later gives an error on reading.
func openFile(path string) (File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() { // opening a pipe would wait for its other end
		return nil, errors.New("not a regular file")
	}
	f, err := files.Open(path)
	if err != nil {
		return nil, err
	}
	if size := int(info.Size()); int64(size) == info.Size() {
		if data, err := mmap.MapRegion(f, size, mmap.RDONLY, 0, 0); err == nil {
			return &mappedFile{data}, f.Close()
		}
	}
	return plainFile{f, info.Size()}, nil
}

// plainFile serves where mapping fails (empty files, some network file systems, big files on 32-bit systems).
type plainFile struct {
	*os.File
	size int64
}

func (f plainFile) Size() int64 { return f.size }

// mappedFile reads from a memory map.
type mappedFile struct{ data mmap.MMap }

func (f *mappedFile) Size() int64 { return int64(len(f.data)) }

func (f *mappedFile) Close() error { return f.data.Unmap() }

// ReadAt copies from the map. A file that shrank, or a disk that fails, faults on access: that becomes an error instead
// of the end of the program.
func (f *mappedFile) ReadAt(dst []byte, at int64) (n int, err error) {
	if at < 0 || at > int64(len(f.data)) {
		return 0, io.EOF
	}
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if fault := recover(); fault != nil {
			n, err = 0, errors.New("the file was cut off while it was open, or its disk failed")
		}
	}()
	if n = copy(dst, f.data[at:]); n < len(dst) {
		err = io.EOF
	}
	return n, err
}
