package gpu

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Both ways of timing count the same dispatches and find the kernel that takes long, more dispatches than a set of
// timestamps holds.
func TestProfile(t *testing.T) {
	d := open(t, Limits{})
	both := d.features
	const small, large = 64, 1 << 20
	x, err := d.NewTensor("x", F32, 1, large)
	require.NoError(t, err)
	y, err := d.NewTensor("y", F32, 1, large)
	require.NoError(t, err)
	require.NoError(t, d.Wait(context.Background())) // makes the rings
	for _, timestamps := range []bool{true, false} {
		if d.features = both; !timestamps {
			d.features = nil
		} else if !d.Has("timestamp-query") {
			t.Log("this device has no timestamps")
			continue
		}
		_, err := d.Kernel(scaleSpec(16))
		require.NoError(t, err)
		start, held := time.Now(), d.Bytes()
		require.NoError(t, d.StartProfile())
		rec := d.Record("profile")
		for range 3 {
			for range 700 {
				rec.Dispatch(scaleSpec(1), small/4, 10, scaleParams{small, 1}, x.Single(), y.Single())
			}
			rec.Dispatch(scaleSpec(16), large/4, 20, scaleParams{large, 1}, x.Single(), y.Single())
		}
		require.NoError(t, rec.Submit())
		p, err := d.StopProfile(context.Background())
		took := time.Since(start)
		require.NoError(t, err)
		require.Equal(t, timestamps, p.Timestamps)
		require.Equal(t, held, d.Bytes(), "the clock's buffer stays")
		require.Len(t, p.Kernels, 2)
		byLabel := map[string]KernelTime{}
		for _, k := range p.Kernels {
			byLabel[k.Kernel] = k
		}
		short, long := byLabel[scaleSpec(1).Label()], byLabel[scaleSpec(16).Label()]
		require.Equal(t, []any{2100, int64(21000), 3, int64(60)}, []any{short.Dispatches, short.Cost, long.Dispatches, long.Cost})
		require.Positive(t, short.Time)
		require.Greater(t, long.Time/3, 10*short.Time/2100, "a dispatch of 16 million additions beside one of 64")
		require.Less(t, long.Time+short.Time, took, "the parts are more than the whole")
		t.Logf("timestamps %v: %v", timestamps, p.Kernels)
	}
}
