package paging

import (
	"context"
	"time"

	"qlora-wgpu/gpu"
)

// Bandwidth measures how many bytes a second pages travel from the host to the device when nothing is computed: into
// slots that the host maps, or through staging. Slots and staging buffers of 32 MiB that do not fit are a
// *gpu.OutOfMemory; other errors are the device's and ctx's.
func Bandwidth(ctx context.Context, dev *gpu.Device, mapped bool) (bytesPerSecond float64, err error) {
	const size, rounds = 32 << 20, 8
	plan := &Plan{Slots: 2, SlotBytes: size, Mapped: mapped}
	if !mapped {
		plan.Staging, plan.StagingBytes = stagingBuffers, size
	}
	s, err := NewStore(dev, plan)
	if err != nil {
		return 0, err
	}
	defer s.Release()
	pages := [][]byte{make([]byte, size), make([]byte, size)}
	for i := range pages {
		for j := 0; j < size; j += 4096 { // memory that was never written may not exist
			pages[i][j] = 1
		}
	}
	var took time.Duration
	for round := range 2 { // the first makes the device's memory exist
		start := time.Now()
		rec := dev.Record("bandwidth")
		for i := range rounds {
			s.transport().In(rec, s.slots[i%2].All(), pages[i%2], func(yield func([]byte) bool) {
				if i+1 < rounds {
					yield(pages[(i+1)%2])
				}
			})
		}
		if err := rec.Submit(); err != nil {
			return 0, err
		}
		if err := dev.Wait(ctx); err != nil {
			return 0, err
		}
		if took = time.Since(start); round == 1 {
			break
		}
	}
	return rounds * size / took.Seconds(), nil
}
