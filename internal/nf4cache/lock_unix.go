//go:build linux || darwin || freebsd

package nf4cache

import (
	"fmt"
	"os"
	"syscall"

	"qlora-wgpu/internal/files"
)

// lock takes an advisory lock that holds until the file is closed, shared or exclusive, without waiting. Where somebody
// else has it, the error is errInUse; where the file system has no locks, another one.
func lock(f *os.File, exclusive bool) error {
	how := syscall.LOCK_SH
	if exclusive {
		how = syscall.LOCK_EX
	}
	err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB)
	if err == syscall.EWOULDBLOCK {
		return errInUse
	}
	return err
}

// removeUnused removes a file, unless a run has it mapped.
func removeUnused(name string) error {
	f, err := files.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if lock(f, true) != nil {
		return fmt.Errorf("remove %s: %w", name, errInUse)
	}
	return os.Remove(name)
}
