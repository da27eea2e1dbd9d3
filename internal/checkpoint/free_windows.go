package checkpoint

import (
	"path/filepath"

	"golang.org/x/sys/windows"
)

// Free counts what this user may still write, quotas included.
func (Files) Free(dir string) (int64, error) {
	name, err := windows.UTF16PtrFromString(filepath.FromSlash(dir))
	if err != nil {
		return 0, err
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, nil, nil); err != nil {
		return 0, err
	}
	return int64(min(free, 1<<62)), nil
}
