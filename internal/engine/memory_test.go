//go:build !js

package engine

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/paging"
)

import ()

// Ctrl-C while the kernels are checked says nothing about the device.
func TestCancelledSelfCheck(t *testing.T) {
	dev, err := gpu.Open(t.Context(), gpu.Options{})
	require.NoError(t, err)
	defer dev.Release()
	s := &Session{Device: dev, emit: func(events.Event) {}} // as on a device that was never used
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, context.Canceled, s.check(ctx))
}

// What the host cannot hold is refused, with the device's part where they share their memory.
func TestHostsMemoryIsEnough(t *testing.T) {
	s := &Session{Device: gpu.NewDry(gpu.Options{}), options: Options{HostMemory: func() (int64, int64) { return 0, 1 << 30 }}}
	plan := &paging.Plan{Peak: 1<<30 - 1, Host: 1}
	require.NoError(t, s.enoughHost(plan))
	plan.Host++
	require.Equal(t, s.Device.Info.SharesHostMemory(), s.enoughHost(plan) != nil)
	plan.Host = 1<<30 + 1
	require.ErrorContains(t, s.enoughHost(plan), "of host memory")
}

// A device that shares the host's memory gets no more than there is, and half of what is free where nobody says.
func TestBudgetOfASharedDevice(t *testing.T) {
	budget := func(bytes int64) (int64, error) {
		s := &Session{Device: gpu.NewDry(gpu.Options{}), options: Options{
			Budget: bytes, HostMemory: func() (int64, int64) { return 8 << 30, 6 << 30 },
		}}
		return s.budget(Demand{Tokens: 1})
	}
	n, err := budget(0)
	require.NoError(t, err)
	require.EqualValues(t, 3<<30, n)
	n, err = budget(7 << 30)
	require.NoError(t, err)
	require.EqualValues(t, 7<<30, n)
	_, err = budget(9 << 30)
	require.ErrorContains(t, err, "at most the memory of this machine, 8.00 GiB")
}
