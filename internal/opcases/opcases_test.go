package opcases

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
)

// TestCases runs every case with every variant on the default adapter.
func TestCases(t *testing.T) {
	dev, err := gpu.Open(context.Background(), gpu.Options{Adapter: os.Getenv("QLORA_DEVICE")})
	require.NoError(t, err)
	defer dev.Release()
	for _, c := range All() {
		for _, v := range c.On(dev) {
			t.Run(c.Op+" "+c.Shape+" "+v, func(t *testing.T) {
				r := Run(context.Background(), dev, c, v)
				require.NoError(t, r.Err)
				require.LessOrEqual(t, r.Used, 1.0, r.Detail)
				t.Logf("%3.0f %% of the allowance: %s", 100*r.Used, r.Detail)
			})
		}
	}
}
