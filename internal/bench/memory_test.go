//go:build !js

package bench

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/paging"
)

import ()

// On software Vulkan the device's memory is the process's: what the system counts agrees with what the allocator does.
func TestResidentMemoryIsWhatIsCounted(t *testing.T) {
	resident := func() int64 {
		debug.FreeOSMemory()
		var size, pages int64
		data, err := os.ReadFile("/proc/self/statm")
		if err != nil {
			t.Skip("this system has no /proc")
		}
		_, err = fmt.Sscan(string(data), &size, &pages)
		require.NoError(t, err)
		return pages * int64(os.Getpagesize())
	}
	dev, err := gpu.Open(context.Background(), gpu.Options{})
	require.NoError(t, err)
	defer dev.Release()
	if dev.Info.Type != "cpu" {
		t.Skip("the device has memory of its own")
	}
	source, err := RandomModel(settings.Shape{Arch: "smollm2-135m", Layers: 2})
	require.NoError(t, err)
	c := settings.Default[settings.Train]()
	c.Autotune, c.LoraR = "off", 192
	c.MaxSeqLength, c.BatchSize, c.GradientAccumulationSteps, c.MaxSteps = 32, 1, 1, 1
	before, grown := resident(), int64(0)
	r, err := Synthetic{
		Model: source, Name: "two layers", Settings: c, Steps: 1, Cache: host.MeasurementsIn(""),
	}.Run(t.Context(), dev, func(e events.Event) {
		if _, ok := e.(events.Step); ok {
			grown = resident() - before
		}
	})
	require.NoError(t, err)
	require.Greater(t, r.Plan.Peak, int64(100<<20), "large enough to tell")
	t.Logf("counted %s, the process grew by %s", paging.Size(r.Plan.Peak), paging.Size(grown))
	require.InDelta(t, r.Plan.Peak, grown, 200<<20)
	require.Greater(t, grown, r.Plan.Peak/2)
}
