//go:build !js

package trainer

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/canceltest"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/demo"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/lora"
)

// cancellable runs one configuration again and again on one device, as a page does that a user pauses.
type cancellable struct {
	t    *testing.T
	in   Inputs
	with Config
}

// newCancellable is a run of six steps in which everything occurs: held-back rows, answers, checkpoints on the way.
func newCancellable(t *testing.T) *cancellable {
	c := &cancellable{t: t, with: small(t, demotest.Model(t, 1, nil), demotest.Rows(t, 13))}
	c.with.ValSize, c.with.EvalSteps, c.with.SaveSteps, c.with.MaxSteps, c.with.LoraDropout = 3, 2, 3, 6, 0.1
	c.with.GradientAccumulationSteps = 1
	source, err := pretrained.Open(c.with.Model)
	require.NoError(t, err)
	t.Cleanup(func() { source.Close() })
	rows, _, err := dataset.Open(c.with.Data)
	require.NoError(t, err)
	dev, err := gpu.Open(t.Context(), gpu.Options{})
	require.NoError(t, err)
	t.Cleanup(dev.Release)
	c.in = Inputs{
		Model: source, Data: rows, Output: Folder{}, Cache: host.MeasurementsIn(""), Opened: dev,
		Prompts: Prompts{Texts: []string{demo.Heldout()[0].Prompt, demo.Heldout()[1].Prompt}, Every: 2, MaxTokens: 3},
	}
	return c
}

// memoryCache keeps what was measured for one test alone.
type memoryCache map[string][]byte

func (m memoryCache) Load(name string) ([]byte, error) {
	if data, found := m[name]; found {
		return data, nil
	}
	return nil, fmt.Errorf("no %s", name)
}

func (m memoryCache) Save(name string, data []byte) error {
	m[name] = data
	return nil
}

// anew is the run in a folder of its own.
func (c *cancellable) anew() Config {
	config := c.with
	config.OutputDir = filepath.Join(c.t.TempDir(), "out")
	return config
}

// attempt is one start of a run, which a cancel may end.
type attempt struct {
	*canceltest.Context
	events int64
	late   time.Duration // from the cancel to the return
	at     string        // kind of the event that it was cancelled at, where it was one
	steps  []int
	after  []string // kinds of events that came after the cancel, beside those of progress
}

// moment is when an attempt is cancelled: at the n-th event, at the n-th look at the context, or after a delay.
type moment struct {
	event, look int64
	delay       time.Duration
}

func (m moment) String() string {
	return fmt.Sprintf("{event: %d, look: %d, delay: %d}", m.event, m.look, m.delay)
}

// run starts the run, or goes on with it, and is cancelled at the moment; watch may cancel, too.
func (c *cancellable) run(config Config, at moment, watch func(*attempt, Event)) (*attempt, error) {
	a := &attempt{Context: canceltest.At(c.t, at.look)}
	if at.delay > 0 {
		defer time.AfterFunc(at.delay, a.Cancel).Stop()
	}
	_, err := Run(a, config, c.in, func(e Event) {
		if step, ok := e.(events.Step); ok {
			a.steps = append(a.steps, step.Step)
		}
		if _, sign := e.(events.Progress); !sign && a.Cancelled() {
			a.after = append(a.after, e.Kind())
		}
		if a.events++; a.events == at.event {
			a.at = e.Kind()
			a.Cancel()
		}
		if watch != nil {
			watch(a, e)
		}
	})
	a.late = a.Late()
	return a, err
}

// saved is the step of the newest checkpoint, 0 where there is none.
func (c *cancellable) saved(config Config) int {
	last, err := LastSaved(c.in.Output, config.OutputDir)
	require.NoError(c.t, err)
	if last == nil {
		return 0
	}
	return last.Step
}

// complete wants of a finished run what one that nobody interrupted has left.
func (c *cancellable) complete(whole, config Config, said string) {
	c.t.Helper()
	require.True(c.t, bytes.Equal(adapterOf(c.t, whole), adapterOf(c.t, config)), "%s: the adapters differ", said)
	require.Equal(c.t, logged(c.t, whole), logged(c.t, config), said)
}

// A run that is cancelled at any moment, and goes on, and is cancelled again, loses no step, and ends with the bytes
// and the log of one that was not interrupted.
func TestCancelledAtRandomMoments(t *testing.T) {
	const cancels = 100
	c := newCancellable(t)
	_, err := c.run(c.anew(), moment{}, nil) // compiles
	require.NoError(t, err)
	whole := c.anew()
	began := time.Now()
	all, err := c.run(whole, moment{}, nil)
	require.NoError(t, err)
	took, held := time.Since(began), c.in.Opened.Bytes()

	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d; %d events, %d looks at the context and %v of a whole run", seed, all.events, all.Looks(), took)
	rng := rand.New(rand.NewPCG(seed, 0))
	draw := func(n int64) int64 { return 1 + min(rng.Int64N(n), rng.Int64N(n)) } // what is left of a run is often less
	var moments []moment                                                         // of the run in progress: they repeat it
	config, done, finished, latest := c.anew(), 0, 0, time.Duration(0)
	for n := 0; n < cancels; {
		var at moment
		switch rng.IntN(3) {
		case 0:
			at.event = draw(all.events)
		case 1:
			at.look = draw(all.Looks())
		case 2:
			at.delay = time.Duration(draw(int64(took)))
		}
		moments = append(moments, at)
		said := fmt.Sprintf("seed %d, cancelled at %v", seed, moments)
		a, err := c.run(config, at, nil)
		if len(a.steps) > 0 {
			require.Equal(t, done+1, a.steps[0], "%s: a step is done again, or left out", said)
			done = a.steps[len(a.steps)-1]
		}
		latest = max(latest, a.late)
		require.GreaterOrEqual(t, held, c.in.Opened.Bytes(), "%s: memory of the device stays taken", said)
		if err == nil {
			c.complete(whole, config, said)
			finished++
			config, done, moments = c.anew(), 0, nil
			continue
		}
		n++
		require.ErrorIs(t, err, context.Canceled, said)
		require.Equal(t, done, c.saved(config), "%s: the checkpoint is not of the step that is done", said)
		require.NoFileExists(t, filepath.Join(config.OutputDir, lora.WeightsFile), said)
		begun := slices.DeleteFunc(a.after, func(kind string) bool { return !slices.Contains([]string{"step", "eval", "answer"}, kind) })
		require.LessOrEqual(t, len(begun), 1, "%s: no more than what was nearly done is finished, not %v", said, begun)
		if at.delay == 0 && a.at != "stepping" { // at another event or a look no step is under way
			require.NotContains(t, begun, "step", said)
		}
		config.ResumeFromCheckpoint = "auto"
	}
	config.ResumeFromCheckpoint = "auto"
	_, err = c.run(config, moment{}, nil)
	require.NoError(t, err)
	c.complete(whole, config, fmt.Sprintf("seed %d, cancelled at %v", seed, moments))
	t.Logf("%d cancels, %d runs finished on the way, at most %v from a cancel to the return", cancels, finished, latest)
}
