//go:build !js

package checkpoint

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	"qlora-wgpu/internal/files"
)

// Files is the store on the machine's own file system. Rooms that know no systems join names with slashes, which
// Windows does not take in every name (\\?\C:\…).
type Files struct{}

func (f Files) MakeDir(dir string) error {
	dir = filepath.FromSlash(dir)
	if info, err := os.Stat(dir); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(dir)
	if parent != dir {
		if err := f.MakeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(dir, 0o777); err != nil {
		return err
	}
	return f.SyncDir(parent)
}

func (Files) Create(name string) (Writer, error) { return files.Create(filepath.FromSlash(name)) }

func (Files) Rename(from, to string) error {
	return rename(filepath.FromSlash(from), filepath.FromSlash(to))
}

func (Files) Remove(name string) error { return removeAll(filepath.FromSlash(name)) }

// IsLink implements Linker.
func (Files) IsLink(name string) bool {
	info, err := os.Lstat(filepath.FromSlash(name))
	return err == nil && info.Mode()&os.ModeSymlink != 0
}

func (Files) Open(name string) (Reader, error) {
	f, err := openShared(filepath.FromSlash(name))
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, err
	}
	return openFile{f, info.Size()}, nil
}

type openFile struct {
	*os.File
	size int64
}

func (f openFile) Size() int64 { return f.size }

func (Files) List(dir string) ([]string, error) {
	entries, err := os.ReadDir(filepath.FromSlash(dir))
	if err != nil {
		return nil, err
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, nil
}

// SyncDir does nothing on Windows, which has no such call: NTFS journals names by itself. Nor is it an error where a
// file system has none for folders, as network disks and FUSE may: files are synced nevertheless.
func (Files) SyncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err = f.Sync(); errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		return nil
	}
	return err
}
