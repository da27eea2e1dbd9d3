package gpu

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Whoever watches is told all that was recorded, submission by submission, by the time that a result is there; and
// nothing of what comes after.
func TestWatchTellsWhatIsDone(t *testing.T) {
	defer func(usual time.Duration) { askEvery = usual }(askEvery)
	askEvery = 0
	d := open(t, Limits{MaxSubmitCost: 1000})
	const n = 64
	x, err := d.NewTensor("x", F32, 1, n)
	require.NoError(t, err)
	y, err := d.NewTensor("y", F32, 1, n)
	require.NoError(t, err)
	work := func(dispatches int) int64 {
		rec := d.Record("test")
		for range dispatches {
			rec.Dispatch(scaleSpec(1), n/4, 400, scaleParams{n, 1}, x.Single(), y.Single())
		}
		require.NoError(t, rec.Submit())
		return rec.Cost
	}
	work(2)
	var told []int64
	stop := d.Watch(func(cost int64) { told = append(told, cost) })
	require.Equal(t, int64(2800), work(7))
	require.NoError(t, d.Wait(t.Context()))
	require.Equal(t, []int64{1200, 1200, 400}, told, "three dispatches exceed a submission's limit")
	stop()
	work(7)
	require.NoError(t, d.Wait(t.Context()))
	require.Len(t, told, 3)
	told = nil
	stop = d.Watch(func(cost int64) { told = append(told, cost) })
	defer stop()
	work(1)
	require.NoError(t, d.Wait(t.Context()))
	require.Equal(t, []int64{400}, told, "another watch begins anew")
}

// Every kernel is told once, also those that were there already; one that cannot be made is not.
func TestCompileTellsEveryKernel(t *testing.T) {
	d := open(t, Limits{})
	specs := []KernelSpec{scaleSpec(1), scaleSpec(2), scaleSpec(3), scaleSpec(4)}
	for range 2 {
		var made atomic.Int64
		require.NoError(t, d.Compile(t.Context(), specs, func() { made.Add(1) }))
		require.Equal(t, int64(len(specs)), made.Load())
	}
	var made atomic.Int64
	bad := KernelSpec{Name: "bad", Source: "no shader", Bindings: []Access{Read}}
	require.Error(t, d.Compile(t.Context(), append(specs, bad), func() { made.Add(1) }))
	require.Equal(t, int64(len(specs)), made.Load())
}
