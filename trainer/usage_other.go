//go:build !unix

package trainer

// cpuSeconds and peakResidentKiB are 0, unknown, on this system.
func cpuSeconds() float64    { return 0 }
func peakResidentKiB() int64 { return 0 }
