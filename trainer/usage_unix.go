//go:build unix

package trainer

import (
	"runtime"
	"syscall"
)

func usage() (r syscall.Rusage) {
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &r) // cannot fail with these arguments
	return r
}

// cpuSeconds is what this process used of the CPU so far.
func cpuSeconds() float64 {
	r := usage()
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e9
}

// peakResidentKiB is the most memory this process ever had resident.
func peakResidentKiB() int64 {
	if runtime.GOOS == "darwin" || runtime.GOOS == "ios" {
		return int64(usage().Maxrss) / 1024 // bytes there
	}
	return int64(usage().Maxrss)
}
