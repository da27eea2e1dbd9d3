//go:build unix

package main

import (
	"errors"
	"syscall"
)

// errUnwatched: this is not linux/amd64, or the system forbids it to containers.
var errUnwatched = errors.New("the system does not let file operations be watched")

// operation is one call of a process on a file.
type operation struct {
	Name, File string
	Process    int

	id    uint64
	fails syscall.Errno // what it gives when it is made to fail
	fills bool          // it takes room on the disk
}
