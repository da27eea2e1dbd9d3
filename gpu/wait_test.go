package gpu

import (
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What the device works at for longer than the five seconds after which wgpu's own waiting takes it for done
// (gfx-rs/wgpu#4589) is read when it is done. Software Vulkan works within the submission and never shows that;
// tools/web_test/run.sh runs this on SwiftShader, which works in a thread of its own as GPUs do.
func TestReadWaitsForAsLongAsItTakes(t *testing.T) {
	if os.Getenv("QLORA_TEST_LONG") != "1" {
		t.Skip("QLORA_TEST_LONG=1 keeps the device busy for ten seconds")
	}
	d := open(t, Limits{})
	const n = 1 << 20
	x, err := d.NewTensor("x", F32, 1, n)
	require.NoError(t, err)
	y, err := d.NewTensor("y", F32, 1, n)
	require.NoError(t, err)
	ones := make([]float32, n)
	for i := range ones {
		ones[i] = 1
	}
	require.NoError(t, x.Single().Buffer.Write(0, Float32Bytes(ones)))
	times := 0
	work := func(dispatches int) {
		times += dispatches
		rec := d.Record("test")
		for range dispatches {
			rec.Dispatch(scaleSpec(1), n/4, 1, scaleParams{n, 1}, x.Single(), y.Single())
		}
		require.NoError(t, rec.Submit())
	}
	work(1)
	require.NoError(t, d.Wait(t.Context()))
	start := time.Now()
	work(10)
	require.NoError(t, d.Wait(t.Context()))
	each := time.Since(start) / 10
	start = time.Now()
	work(int(10 * time.Second / each))
	got, err := d.ReadFloat32(t.Context(), y)
	require.NoError(t, err)
	t.Logf("%d dispatches of %v; read after %v", times, each, time.Since(start))
	require.Equal(t, float32(times), got[0])
	require.Equal(t, float32(times), got[n-1])
}
