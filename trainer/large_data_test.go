//go:build !js

package trainer

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/datacache"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/events"
)

// A run whose samples are on disk has the bytes and the log of one that holds them, also when it begins in the one way
// and goes on in the other, evaluates what is held back and answers.
func TestSamplesOnDiskTrainTheSame(t *testing.T) {
	c := newCancellable(t)
	whole := c.anew()
	_, err := c.run(whole, moment{}, nil)
	require.NoError(t, err)
	held, dir := c.in, filepath.Join(t.TempDir(), "data")
	onDisk := func() {
		say := func(message string) { t.Log(message) }
		store := datacache.New(t.Context(), dir, 0, say, say)
		t.Cleanup(store.Close)
		c.in.Samples = store
		c.in.Data, _, err = dataset.Reading{Held: -1, Known: store}.Open(c.with.Data)
		require.NoError(t, err)
	}
	atStep := func(n int) func(*attempt, Event) {
		return func(a *attempt, e Event) {
			if step, is := e.(events.Step); is && step.Step == n {
				a.Cancel()
			}
		}
	}
	config := c.anew()
	onDisk()
	_, err = c.run(config, moment{}, atStep(2))
	require.Equal(t, context.Canceled, err)
	config.ResumeFromCheckpoint = "auto"
	kept, err := filepath.Glob(filepath.Join(dir, "*.samples"))
	require.NoError(t, err)
	require.Len(t, kept, 1)
	c.in = held
	_, err = c.run(config, moment{}, atStep(4))
	require.Equal(t, context.Canceled, err)
	onDisk()
	_, err = c.run(config, moment{}, nil)
	require.NoError(t, err)
	c.complete(whole, config, "on disk, held, on disk")
}
