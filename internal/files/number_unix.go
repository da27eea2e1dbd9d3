//go:build linux || darwin || freebsd

package files

import (
	"io/fs"
	"syscall"
)

// Number is the inode's: a file that replaces another has its own.
func Number(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Ino)
	}
	return 0
}
