//go:build unix

package main

import "syscall"

// operation is one call of a process on a file.
type operation struct {
	Name, File string
	Process    int

	id    uint64
	fails syscall.Errno // what it gives when it is made to fail
}
