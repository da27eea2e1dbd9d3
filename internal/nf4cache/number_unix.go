//go:build linux || darwin || freebsd

package nf4cache

import (
	"io/fs"
	"syscall"
)

// fileNumber is the inode's: a file that replaces another has its own.
func fileNumber(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(s.Ino)
	}
	return 0
}
