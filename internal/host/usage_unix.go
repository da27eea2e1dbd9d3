//go:build unix

package host

import (
	"runtime"
	"syscall"
)

func usage() (r syscall.Rusage) {
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // cannot fail with these arguments
	return r
}

// CPUSeconds is what this process used of the CPU so far.
func CPUSeconds() float64 {
	r := usage()
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}

// PeakResidentKiB is the most memory this process ever had resident.
func PeakResidentKiB() int64 {
	if runtime.GOOS == "darwin" || runtime.GOOS == "ios" {
		return int64(usage().Maxrss) / 1024 // bytes there
	}
	return int64(usage().Maxrss)
}
