//go:build linux || darwin || freebsd

package nf4cache

import (
	"os"
	"syscall"
)

// lock takes an advisory lock that holds until the file is closed, shared or exclusive, without waiting.
func lock(f *os.File, exclusive bool) bool {
	how := syscall.LOCK_SH
	if exclusive {
		how = syscall.LOCK_EX
	}
	return syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB) == nil
}
