//go:build !unix && !windows

package host

// CPUSeconds and PeakResidentKiB are 0, unknown, on this system.
func CPUSeconds() float64    { return 0 }
func PeakResidentKiB() int64 { return 0 }
