package gpu

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/canceltest"
)

// Whenever a read-back is cancelled, before its first piece, between two or while it waits, the next one gives the
// bytes: a buffer that stayed mapped would refuse them.
func TestACancelledReadLeavesTheDeviceUsable(t *testing.T) {
	d := open(t, Limits{})
	require.NoError(t, d.SetRings(MinRingBytes))
	const n = 3 * MinRingBytes / 4 // three pieces
	x, err := d.NewTensor("x", F32, 1, n)
	require.NoError(t, err)
	y, err := d.NewTensor("y", F32, 1, n)
	require.NoError(t, err)
	ones := make([]float32, n)
	for i := range ones {
		ones[i] = 1
	}
	require.NoError(t, x.WriteFloat32(ones))
	added := float32(0)
	readsAgain := func(cancelled context.Context, read func(context.Context) error) {
		t.Helper()
		rec := d.Record("test")
		rec.Dispatch(scaleSpec(1), n/4, 1, scaleParams{n, 1}, x.Single(), y.Single())
		require.NoError(t, rec.Submit())
		added++
		require.ErrorIs(t, read(cancelled), context.Canceled)
		got, err := d.ReadFloat32(t.Context(), y)
		require.NoError(t, err)
		require.Equal(t, []float32{added, added, added}, []float32{got[0], got[n/2], got[n-1]})
	}
	all := func(ctx context.Context) error {
		_, err := d.Read(ctx, y.Single())
		return err
	}
	whole := canceltest.At(t, 0)
	require.NoError(t, all(whole))
	looks := whole.Looks()
	require.Greater(t, looks, int64(3), "before each piece and at the end")
	for look := int64(1); look <= looks; look++ {
		readsAgain(canceltest.At(t, look), all)
	}
	for look := int64(1); look <= 2; look++ {
		readsAgain(canceltest.At(t, look), d.Wait)
	}
	for i := range 20 { // while it waits, or just before
		ctx, cancel := context.WithCancel(t.Context())
		readsAgain(ctx, func(ctx context.Context) error {
			time.AfterFunc(time.Duration(i)*50*time.Microsecond, cancel)
			for { // until it is cancelled
				if err := all(ctx); err != nil {
					return err
				}
			}
		})
	}
}

// A cancelled Compile makes no more kernels, and what it did not make is made when it is wanted.
func TestACancelledCompileIsTakenUpAgain(t *testing.T) {
	d := open(t, Limits{})
	var specs []KernelSpec
	for unroll := range uint32(4 * compilers) {
		specs = append(specs, scaleSpec(unroll+1))
	}
	require.ErrorIs(t, d.Compile(canceltest.At(t, 3), specs, nil), context.Canceled)
	require.Len(t, d.kernels, 2)
	require.NoError(t, d.Compile(t.Context(), specs, nil))
	require.Len(t, d.kernels, len(specs))
}
