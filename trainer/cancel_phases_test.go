//go:build !js

package trainer

import (
	"bytes"
	"context"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/lora"
)

// phase is a stretch of a run: it begins with the event that from tells, and the cancel comes at the so many-th event
// of the kind after it, or look at the context.
type phase struct {
	name  string
	from  func(Event) bool
	kind  string // "create": the so many-th file that is written; "": none, the look counts
	n     int64
	next  string // how the kind and text of the event begin that would say that the phase has ended
	saved int    // step of the checkpoint that is there then
}

// creating is an output that tells which files are begun.
type creating struct {
	Output
	begun func(name string)
}

func (w creating) Create(name string) (checkpoint.Writer, error) {
	w.begun(name)
	return w.Output.Create(name)
}

func TestCancelledInEveryPhase(t *testing.T) {
	step := func(n int) func(Event) bool {
		return func(e Event) bool { s, ok := e.(events.Step); return ok && s.Step == n }
	}
	evaluated := func(n int) func(Event) bool {
		return func(e Event) bool { s, ok := e.(events.Eval); return ok && s.Step == n }
	}
	first := func(kind string) func(Event) bool { return func(e Event) bool { return e.Kind() == kind } }
	c := newCancellable(t)
	whole := c.anew()
	_, err := c.run(whole, moment{}, nil)
	require.NoError(t, err)
	for _, p := range []phase{
		{"encoding the data", first("info"), "", 4, "info Data:", 0},
		{"loading", first("load"), "load", 1, "info Model:", 0},
		{"compiling", first("reserved"), "", 10, "answering", 0},
		{"base answers", first("reserved"), "answering", 1, "answer ", 0},
		{"before the first step", first("answer"), "answer", 1, "step", 0},
		{"answers in mid-run", evaluated(2), "answering", 1, "answer ", 2},
		{"evaluation in mid-run", step(2), "", 2, "eval ", 2},
		{"between two steps", step(1), "", 1, "step", 1},
		{"saving", step(3), "create", 2, "step", 3},
		{"a checkpoint that is complete", step(3), "checkpoint", 1, "step", 3},
		{"the last evaluation", step(6), "", 2, "eval ", 6},
		{"the last answers", evaluated(6), "answering", 1, "done", 6},
	} {
		t.Run(p.name, func(t *testing.T) {
			config := c.anew()
			var begun bool
			var count int64
			var under *attempt
			come := func(kind string) {
				if begun && kind == p.kind {
					if count++; count == p.n {
						under.Cancel()
					}
				}
			}
			c.in.Output = creating{Folder{}, func(string) { come("create") }}
			a, err := c.run(config, moment{}, func(a *attempt, e Event) {
				if begun {
					require.False(t, strings.HasPrefix(e.Kind()+" "+e.String(), p.next), "%s %v", e.Kind(), e)
				}
				switch {
				case !begun && p.from(e):
					if begun = true; p.kind == "" {
						a.CancelAfter(p.n)
					}
					return
				default:
					under = a
					come(e.Kind())
				}
			})
			require.ErrorIs(t, err, context.Canceled)
			require.Subset(t, map[bool][]string{true: {"info", "checkpoint"}}[p.saved > 0], a.after,
				"nothing but the saving comes after the cancel")
			require.Equal(t, p.saved, c.saved(config))
			require.NoFileExists(t, filepath.Join(config.OutputDir, lora.WeightsFile))
			t.Logf("%v from the cancel to the return", a.late)

			config.ResumeFromCheckpoint = "auto"
			_, err = c.run(config, moment{}, nil)
			require.NoError(t, err)
			c.complete(whole, config, p.name)
		})
	}
}

// A cancel in mid-step lets the step end, and no other begin.
func TestCancelledInAStep(t *testing.T) {
	c := newCancellable(t)
	c.in.Prompts, c.with.ValSize, c.with.EvalSteps, c.with.SaveSteps = Prompts{}, 0, 0, 0
	whole := c.anew()
	_, err := c.run(whole, moment{}, nil)
	require.NoError(t, err)
	for range 20 { // on a busy machine the cancel may miss the step
		config := c.anew()
		a, err := c.run(config, moment{}, func(a *attempt, e Event) {
			if s, ok := e.(events.Step); ok && s.Step == 2 {
				time.AfterFunc(time.Duration(s.Seconds*float64(time.Second)/2), a.Cancel) // a step takes about that long
			}
		})
		if err == nil {
			continue
		}
		require.ErrorIs(t, err, context.Canceled)
		done := a.steps[len(a.steps)-1]
		require.Equal(t, done, c.saved(config))
		if !slices.Contains(a.after, "step") {
			continue
		}
		require.Equal(t, "step", a.after[0])
		require.NotContains(t, a.after[1:], "step")
		config.ResumeFromCheckpoint = "auto"
		_, err = c.run(config, moment{}, nil)
		require.NoError(t, err)
		c.complete(whole, config, "")
		return
	}
	require.Fail(t, "no cancel came in a step")
}

// What is written when the cancel comes is the result: the run is done.
func TestCancelledWhileTheResultIsWritten(t *testing.T) {
	c := newCancellable(t)
	whole := c.anew()
	_, err := c.run(whole, moment{}, nil)
	require.NoError(t, err)
	config := c.anew()
	var under *attempt
	c.in.Output = creating{c.in.Output, func(name string) {
		if path.Base(path.Dir(name)) == "out" && strings.HasPrefix(path.Base(name), "adapter") {
			under.Cancel()
		}
	}}
	_, err = c.run(config, moment{}, func(a *attempt, _ Event) { under = a })
	require.NoError(t, err)
	require.True(t, under.Cancelled())
	c.complete(whole, config, "")
	require.Equal(t, 6, c.saved(config))
}

// A run that is cancelled before its first step leaves the one that it was to replace.
func TestCancelledBeforeItReplacesARun(t *testing.T) {
	c := newCancellable(t)
	config := c.anew()
	_, err := c.run(config, moment{}, nil)
	require.NoError(t, err)
	want := adapterOf(t, config)
	config.Overwrite, config.Seed = true, 7
	told := 0
	_, err = c.run(config, moment{}, func(a *attempt, e Event) {
		if e.Kind() == "answer" {
			if told++; told == len(c.in.Prompts.Texts) { // nothing but the folder is left to be claimed
				a.Cancel()
			}
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	require.True(t, bytes.Equal(want, adapterOf(t, config)))
	require.Equal(t, 6, c.saved(config))
}

// The autotune and the check of the kernels hear a cancel, and the next start measures and checks again.
func TestCancelledWhileMeasuring(t *testing.T) {
	for _, kind := range []string{"Checking the kernels", "autotune: "} {
		t.Run(kind, func(t *testing.T) {
			c := newCancellable(t)
			c.in.Cache = memoryCache{}
			c.with.Autotune, c.with.MaxSteps, c.with.EvalSteps = "force", 1, 0
			config := c.anew()
			begun := false
			a, err := c.run(config, moment{}, func(a *attempt, e Event) {
				require.NotEqual(t, "load", e.Kind(), "what comes after it")
				if !begun && strings.HasPrefix(e.String(), kind) {
					begun = true
					a.CancelAfter(2)
				}
			})
			require.ErrorIs(t, err, context.Canceled)
			require.Empty(t, a.after)
			t.Logf("%v from the cancel to the return", a.late)
			require.NoDirExists(t, config.OutputDir)
			config.Autotune = "off"
			_, err = c.run(config, moment{}, nil)
			require.NoError(t, err)
		})
	}
}
