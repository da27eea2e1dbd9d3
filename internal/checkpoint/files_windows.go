package checkpoint

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/windows"

	"qlora-wgpu/internal/files"
)

// patience is how long a file is waited for that another program has open: virus scanners and indexers look into every
// new file for a moment, and meanwhile Windows renames and removes neither it nor the folder above it.
const patience = 2 * time.Second

// patiently does what may find a file open, until it does not.
func patiently(do func() error) error {
	start := time.Now()
	for pause := time.Millisecond; ; pause = min(2*pause, 100*time.Millisecond) {
		err := do()
		if !heldOpen(err) {
			return err
		}
		if time.Since(start) > patience {
			return fmt.Errorf("%w (another program may have it open)", err)
		}
		time.Sleep(pause)
	}
}

// heldOpen tells whether an error is one of those that a file gives which somebody has open. ACCESS_DENIED has other
// causes too.
func heldOpen(err error) bool {
	for _, cause := range []windows.Errno{
		windows.ERROR_ACCESS_DENIED, windows.ERROR_SHARING_VIOLATION, windows.ERROR_USER_MAPPED_FILE, windows.ERROR_DIR_NOT_EMPTY,
	} {
		if errors.Is(err, cause) {
			return true
		}
	}
	return false
}

func rename(from, to string) error {
	return patiently(func() error { return os.Rename(from, to) })
}

func removeAll(name string) error {
	return patiently(func() error {
		err := os.RemoveAll(name)
		if errors.Is(err, windows.ERROR_INVALID_FUNCTION) { // Wine 8 does not know how Go removes
			return removeOneByOne(name)
		}
		return err
	})
}

func removeOneByOne(name string) error {
	info, err := os.Lstat(name)
	if err != nil {
		return err
	}
	if info.IsDir() {
		entries, err := os.ReadDir(name)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if err := removeOneByOne(filepath.Join(name, e.Name())); err != nil {
				return err
			}
		}
	}
	return os.Remove(name)
}

// openShared opens a regular file for reading, so that others may rename, replace and remove it meanwhile.
func openShared(name string) (*os.File, error) {
	looked, err := files.Open(name)
	if err != nil {
		return nil, err
	}
	defer looked.Close()
	path, err := windows.UTF16PtrFromString(name)
	if err != nil {
		return nil, err
	}
	share := uint32(windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE)
	h, err := windows.CreateFile(path, windows.GENERIC_READ, share, nil, windows.OPEN_EXISTING, windows.FILE_ATTRIBUTE_NORMAL, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(h), name), nil
}
