//go:build !js

package trainer

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/answer"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/events"
)

// A model from the cache trains and answers as one that was just quantized, streamed out of the cache too, and a
// damaged cache costs nothing but time.
func TestQuantizedModelFromTheCache(t *testing.T) {
	model, data, dir := demotest.Model(t, 2, nil), demotest.Rows(t, 8), t.TempDir()
	least := int64(0) // device memory
	run := func(budget string) result {
		c := small(t, model, data)
		c.CacheDir, c.MaxSteps, c.VRAMBudget = dir, 2, budget
		r, err := tryTrain(t, t.Context(), c, func(e Event) {
			if memory, ok := e.(events.Memory); ok {
				least = memory.Plan.Minimum
			}
		})
		require.NoError(t, err, r.said)
		r.adapter = adapterOf(t, c)
		return r
	}
	first, second := run(""), run("")
	require.Contains(t, first.said, "info: The quantized model is cached for the next start in "+dir)
	require.Contains(t, second.said, "info: The quantized model comes from the cache: "+dir)
	names, err := filepath.Glob(filepath.Join(dir, "nf4", "*.nf4"))
	require.NoError(t, err)
	require.Len(t, names, 1)
	file, err := os.ReadFile(names[0])
	require.NoError(t, err)
	file[len(file)/3] ^= 4
	require.NoError(t, os.WriteFile(names[0], file, 0o666))
	third, fourth := run(""), run("")
	streamed := run(fmt.Sprintf("%dB", least)) // out of the mapped file
	require.Contains(t, third.said, "warning: The cached model "+names[0]+" is not used: damaged: part ")
	require.Contains(t, fourth.said, "comes from the cache")
	require.Contains(t, streamed.said, "comes from the cache")
	require.Contains(t, streamed.said, "2 of 2 streamed")
	require.Positive(t, streamed.steps[1].PageIns)
	for _, other := range []result{second, third, fourth, streamed} {
		require.Equal(t, losses(first), losses(other))
		require.True(t, bytes.Equal(first.adapter, other.adapter))
	}
	said := ""
	hear := func(e Event) { said += e.String() + "\n" }
	o := evaluation(model, "", data)
	o.CacheDir = dir
	cached, err := answer.Evaluate(t.Context(), o, hear)
	require.NoError(t, err)
	require.Contains(t, said, "comes from the cache")
	o.BlockSize = 128
	said = ""
	other, err := answer.Evaluate(t.Context(), o, hear)
	require.NoError(t, err)
	require.NotContains(t, said, "comes from the cache", "other settings")
	require.NotEqual(t, cached.Loss, other.Loss)
	require.NoError(t, os.RemoveAll(filepath.Join(dir, "nf4")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "nf4"), nil, 0o666))
	o.BlockSize, said = 64, ""
	without, err := answer.Evaluate(t.Context(), o, hear)
	require.NoError(t, err)
	require.Contains(t, said, "The quantized model is not cached: ")
	require.Equal(t, cached.Loss, without.Loss)
}
