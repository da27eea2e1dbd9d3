//go:build !js

package hub

import "syscall"

var errFull = syscall.ENOSPC
