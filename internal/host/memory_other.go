//go:build !js && !windows

package host

import (
	"fmt"
	"os"
	"strings"
)

// Memory is the machine's memory in bytes, all of it and what programs may still take; 0 where the system tells it
// otherwise than Linux does.
func Memory() (total, available int64) {
	data, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, 0
	}
	for line := range strings.Lines(string(data)) {
		var kib int64
		if _, err := fmt.Sscanf(line, "MemTotal: %d kB", &kib); err == nil {
			total = kib << 10
		}
		if _, err := fmt.Sscanf(line, "MemAvailable: %d kB", &kib); err == nil {
			available = kib << 10
		}
	}
	return total, available
}
