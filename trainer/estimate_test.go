//go:build !js

package trainer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/demo"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

func openDevice(t *testing.T) *gpu.Device {
	t.Helper()
	dev, err := gpu.Open(t.Context(), gpu.Options{})
	require.NoError(t, err)
	t.Cleanup(dev.Release)
	return dev
}

// An estimate counts what is left of a run, tells its progress and nothing else, changes no file, and leaves the run
// after it the bytes that it would have had.
func TestAnEstimateChangesNothing(t *testing.T) {
	model, data := demotest.Model(t, 1, nil), demotest.Rows(t, 24)
	settings := func() Config {
		c := small(t, model, data)
		c.MaxSteps, c.SaveSteps, c.EvalSteps, c.ValSize = 5, 2, 2, 8
		return c
	}
	plain := train(t, settings())

	c := settings()
	in := inputs(t, c, openDevice(t))
	in.Prompts = Prompts{Texts: []string{demo.Heldout()[0].Prompt, demo.Heldout()[1].Prompt}, Every: 4, MaxTokens: 3}
	estimate := func() *Times {
		var last events.Progress
		times, err := Estimate(t.Context(), c, in, func(e Event) {
			if _, prepares := e.(events.Preparing); !prepares {
				last = e.(events.Progress)
			}
		})
		require.NoError(t, err)
		require.Equal(t, events.Estimating{Part: events.Part{Done: 3, Total: 3}}, last)
		require.InEpsilon(t, times.Seconds, times.Loading+times.Training+times.Evaluation+times.Answers+times.Saving, 1e-9)
		require.InEpsilon(t, times.Training, times.Step*float64(times.Steps), 1e-9)
		return times
	}
	whole := estimate()
	require.Equal(t, 5, whole.Steps)
	for _, seconds := range []float64{whole.Loading, whole.Step, whole.Evaluation, whole.Answers, whole.Saving} {
		require.Positive(t, seconds)
	}
	require.NoDirExists(t, c.OutputDir)

	ctx, stop := context.WithCancel(t.Context())
	_, err := Run(ctx, c, in, func(e Event) {
		if step, ok := e.(events.Step); ok && step.Step == 3 {
			stop()
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	c.ResumeFromCheckpoint = "auto"
	before := listing(t, c.OutputDir)
	require.Equal(t, 2, estimate().Steps)
	require.Equal(t, before, listing(t, c.OutputDir))
	_, err = Run(t.Context(), c, in, func(Event) {})
	require.NoError(t, err)
	require.Equal(t, plain.adapter, adapterOf(t, c))
}

// listing is all files of a folder with what they hold.
func listing(t *testing.T, dir string) map[string]string {
	t.Helper()
	held := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(name string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(name)
		held[name] = string(content)
		return err
	}))
	return held
}

// What a run does every so many steps is counted for the steps that are left, and what it does at its end once.
func TestWhatIsLeftOfARun(t *testing.T) {
	c := small(t, demotest.Model(t, 1, nil), demotest.Rows(t, 24))
	c.MaxSteps, c.SaveSteps, c.EvalSteps, c.ValSize = 10, 5, 4, 8
	in := inputs(t, c, openDevice(t))
	in.Prompts = Prompts{Texts: []string{demo.Heldout()[0].Prompt}, Every: 3, MaxTokens: 3}
	r, err := open(t.Context(), c, in, func(Event) {})
	require.NoError(t, err)
	defer r.release()
	require.NoError(t, r.takeLayers(t.Context(), 1, &paging.Plan{}))
	for done, want := range map[int]left{
		0:  {steps: 10, evaluations: 3, answers: 5, checkpoints: 2}, // after 4, 8, 10; before all, 3, 6, 9, 10; 5, 10
		5:  {steps: 5, evaluations: 2, answers: 4, checkpoints: 1},
		9:  {steps: 1, evaluations: 1, answers: 2, checkpoints: 1},
		10: {answers: 1},
	} {
		r.saved.Step = done
		require.Equal(t, want, r.left(), "after %d", done)
	}
	r.saved.Step, r.config.SaveSteps, r.config.EvalSteps, r.in.Prompts.Every = 0, 0, 0, 0
	require.Equal(t, left{steps: 10, evaluations: 1, answers: 2}, r.left())
}

// Of a model with more layers the first ones are loaded, and the rest counts as they do, also where only others are
// adapted.
func TestAnEstimateOfManyLayers(t *testing.T) {
	model, data := demotest.Model(t, 5, func(config map[string]any) { config["num_hidden_layers"] = 5 }), demotest.Rows(t, 8)
	c := small(t, model, data)
	in := inputs(t, c, openDevice(t))
	r, err := open(t.Context(), c, in, func(Event) {})
	require.NoError(t, err)
	defer r.release()
	require.NoError(t, r.takeLayers(t.Context(), 2, &paging.Plan{}))
	require.Equal(t, 2, r.engine.Model.Shape().Layers)
	var five, twenty Times
	require.NoError(t, r.estimate(t.Context(), &five, 2.5))
	require.NoError(t, r.estimate(t.Context(), &twenty, 10))
	require.Positive(t, five.Step)
	require.Positive(t, five.Saving)
	require.Len(t, in.Model.Spec.Layers, 5, "the opened model stays as it is")

	c.LoraTargetModules = []string{"model.layers.4.mlp.up_proj"}
	last, err := open(t.Context(), c, in, func(Event) {})
	require.NoError(t, err)
	defer last.release()
	var mistake *usererr.Error
	require.ErrorAs(t, last.takeLayers(t.Context(), 2, &paging.Plan{}), &mistake, "Estimate then takes all layers")
	require.NoError(t, last.takeLayers(t.Context(), 5, &paging.Plan{}))
}

// The sections of the layers come first, and those that are not loaded take what these do.
func TestLoadingLayersThatAreNotThere(t *testing.T) {
	l := loads{at: []time.Duration{0, 2 * time.Second, 4 * time.Second, 9 * time.Second}}
	require.InDelta(t, 25, l.seconds(2, 10), 1e-9)
	require.InDelta(t, 9, l.seconds(2, 2), 1e-9)
}

// Whenever it is cancelled, an estimate ends with the context's error and leaves the device for the next one.
func TestAnEstimateCanBeCancelled(t *testing.T) {
	c := small(t, demotest.Model(t, 1, nil), demotest.Rows(t, 8))
	dev := openDevice(t)
	in := inputs(t, c, dev)
	in.Prompts = Prompts{Texts: []string{demo.Heldout()[0].Prompt}, MaxTokens: 3}
	said := 0
	_, err := Estimate(t.Context(), c, in, func(Event) { said++ })
	require.NoError(t, err)
	require.Greater(t, said, 3)
	held := dev.Bytes()
	for at := 0; at < said; at += 2 {
		ctx, stop := context.WithCancelCause(t.Context())
		n := 0
		_, err := Estimate(ctx, c, in, func(Event) {
			if n++; n > at {
				stop(errors.New("enough"))
			}
		})
		stop(nil)
		if err == nil { // cancelled by the last it said, or it said less
			require.GreaterOrEqual(t, at, 3)
			continue
		}
		require.ErrorIs(t, err, context.Canceled)
	}
	_, err = Estimate(t.Context(), c, in, func(Event) {})
	require.NoError(t, err)
	require.Equal(t, held, dev.Bytes())
	_, err = Run(t.Context(), c, in, func(Event) {})
	require.NoError(t, err)
	require.FileExists(t, filepath.Join(c.OutputDir, lora.WeightsFile))
}
