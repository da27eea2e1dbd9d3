//go:build !js

package trainer

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

// A run that came to its end goes on to more steps where no step that is done would have been another one, and leaves
// the bytes of a run that was to take so many from the beginning.
func TestALongerRunGoesOn(t *testing.T) {
	model, data := demotest.Model(t, 1, nil), demotest.Rows(t, 9) // 3 steps an epoch
	with := func(change func(*Config)) Config {
		c := small(t, model, data)
		c.SaveSteps, c.MaxSteps, c.LoraDropout = 2, 0, 0.1
		change(&c)
		return c
	}
	for name, test := range map[string]struct{ schedule, shorter, longer func(*Config) }{
		"constant, by steps": {
			func(c *Config) { c.LRSchedulerType = Constant },
			func(c *Config) { c.MaxSteps = 4 }, func(c *Config) { c.MaxSteps = 7 },
		},
		"from steps to epochs": {
			func(c *Config) { c.LRSchedulerType = Constant },
			func(c *Config) { c.MaxSteps = 3 }, func(c *Config) { c.NumTrainEpochs = 2 },
		},
		"warm-up of so many steps": {
			func(c *Config) { c.LRSchedulerType, c.WarmupSteps = ConstantWithWarmup, 3 },
			func(c *Config) { c.MaxSteps = 4 }, func(c *Config) { c.MaxSteps = 6 },
		},
		"warm-up by a ratio that gives as many": {
			func(c *Config) { c.LRSchedulerType, c.WarmupRatio = ConstantWithWarmup, 0.3 },
			func(c *Config) { c.MaxSteps = 4 }, func(c *Config) { c.MaxSteps = 6 },
		},
	} {
		t.Run(name, func(t *testing.T) {
			whole := with(func(c *Config) { test.schedule(c); test.longer(c) })
			want := train(t, whole)
			c := with(func(c *Config) { test.schedule(c); test.shorter(c) })
			first := train(t, c)
			require.False(t, bytes.Equal(want.adapter, first.adapter))
			c.MaxSteps, c.NumTrainEpochs, c.ResumeFromCheckpoint = whole.MaxSteps, whole.NumTrainEpochs, "auto"
			got := train(t, c)
			require.Equal(t, losses(want), append(losses(first), losses(got)...))
			require.True(t, bytes.Equal(want.adapter, got.adapter))
			last := filepath.Join("checkpoint-6", optimizerFile)
			if len(want.steps) == 7 {
				last = filepath.Join("checkpoint-7", optimizerFile)
			}
			for _, name := range []string{last, filepath.Join(filepath.Dir(last), lora.WeightsFile)} {
				a, err := os.ReadFile(filepath.Join(whole.OutputDir, name))
				require.NoError(t, err)
				b, err := os.ReadFile(filepath.Join(c.OutputDir, name))
				require.NoError(t, err)
				require.True(t, bytes.Equal(a, b), name)
			}
			c.MaxSteps = 5
			_, err := tryTrain(t, t.Context(), c, nil)
			require.ErrorContains(t, err,
				"steps are done, the run is to take 5 (raise max_steps or num_train_epochs, or resume from an earlier checkpoint)")
		})
	}
}

// Where the schedule spans all steps the run is refused, and its adapter is the start of another one.
func TestAScheduleThatSpansTheRunIsNotExtended(t *testing.T) {
	model, data := demotest.Model(t, 1, nil), demotest.Rows(t, 9)
	for name, change := range map[string]func(*Config){
		"linear":                       func(c *Config) {},
		"cosine":                       func(c *Config) { c.LRSchedulerType = Cosine },
		"warm-up that would be longer": func(c *Config) { c.LRSchedulerType, c.WarmupRatio = ConstantWithWarmup, 0.5 },
	} {
		t.Run(name, func(t *testing.T) {
			c := small(t, model, data)
			c.SaveSteps = 4
			change(&c)
			train(t, c)
			before := adapterOf(t, c)
			saved := filepath.ToSlash(c.OutputDir) + "/checkpoint-4"
			c.ResumeFromCheckpoint, c.MaxSteps = "auto", 8
			_, err := tryTrain(t, t.Context(), c, nil)
			require.True(t, usererr.Is(err, usererr.Invalid))
			require.ErrorContains(t, err,
				"resume "+saved+": the run was to take 4 steps and is to take 8; with lr_scheduler_type "+c.LRSchedulerType+" step ")
			require.ErrorContains(t, err, "(begin a new run from what this one learned: --init-adapter "+saved+" and another --output-dir; ")
			require.Equal(t, before, adapterOf(t, c))
			c.ResumeFromCheckpoint, c.InitAdapter, c.OutputDir = "", saved, filepath.Join(t.TempDir(), "next")
			train(t, c)
		})
	}
}
