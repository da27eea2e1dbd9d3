package host

import (
	"unsafe"

	"golang.org/x/sys/windows"
)

var (
	kernel32             = windows.NewLazySystemDLL("kernel32.dll")
	getProcessMemoryInfo = kernel32.NewProc("K32GetProcessMemoryInfo")
	globalMemoryStatus   = kernel32.NewProc("GlobalMemoryStatusEx")
)

// CPUSeconds is what this process used of the CPU so far. The system counts in ticks of 15.6 ms.
func CPUSeconds() float64 {
	var created, ended, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(windows.CurrentProcess(), &created, &ended, &kernel, &user); err != nil {
		return 0
	}
	ticks := func(t windows.Filetime) float64 { return float64(uint64(t.HighDateTime)<<32 | uint64(t.LowDateTime)) }
	return (ticks(kernel) + ticks(user)) / 1e7
}

// processMemory is PROCESS_MEMORY_COUNTERS of the Windows API.
type processMemory struct {
	size, pageFaults                uint32
	peakWorkingSet, workingSet      uintptr
	peakPagedPool, pagedPool        uintptr
	peakNonPagedPool, nonPagedPool  uintptr
	pagefileUsage, peakPagefileUsed uintptr
}

// PeakResidentKiB is the most memory this process ever had resident.
func PeakResidentKiB() int64 {
	var m processMemory
	m.size = uint32(unsafe.Sizeof(m))
	if ok, _, _ := getProcessMemoryInfo.Call(uintptr(windows.CurrentProcess()), uintptr(unsafe.Pointer(&m)), uintptr(m.size)); ok == 0 {
		return 0
	}
	return int64(m.peakWorkingSet >> 10)
}

// machineMemory is MEMORYSTATUSEX of the Windows API.
type machineMemory struct {
	size, load                       uint32
	total, available                 uint64
	totalPageFile, availablePageFile uint64
	totalVirtual, availableVirtual   uint64
	availableExtended                uint64
}

// Memory is the machine's memory in bytes, all of it and what programs may still take; 0 where the system tells none.
func Memory() (total, available int64) {
	var m machineMemory
	m.size = uint32(unsafe.Sizeof(m))
	if ok, _, _ := globalMemoryStatus.Call(uintptr(unsafe.Pointer(&m))); ok == 0 {
		return 0, 0
	}
	return int64(m.total), int64(m.available)
}
