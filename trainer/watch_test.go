//go:build !js

package trainer

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/answer"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/preview"
	"qlora-wgpu/paging"
)

// watched is a run whose probabilities are told, if watch says so.
type watched struct {
	losses  []float64
	adapter []byte
	told    []events.Probabilities
	plan    *paging.Plan
}

func runWatched(t *testing.T, ctx context.Context, c Config, watch bool, prompts Prompts, each func(Event)) watched {
	t.Helper()
	source, err := pretrained.Open(c.Model)
	require.NoError(t, err)
	defer source.Close()
	rows, _, err := dataset.Open(c.Data)
	require.NoError(t, err)
	var out watched
	in := Inputs{Model: source, Data: rows, Output: Folder{}, Cache: host.MeasurementsIn(""), Watch: watch, Prompts: prompts}
	_, err = Run(ctx, c, in, func(e Event) {
		switch e := e.(type) {
		case events.Probabilities:
			out.told = append(out.told, e)
		case events.Step:
			out.losses = append(out.losses, e.Loss)
		case events.Memory:
			out.plan = e.Plan
		}
		if each != nil {
			each(e)
		}
	})
	if ctx.Err() == nil {
		require.NoError(t, err)
		out.adapter = adapterOf(t, c)
	}
	return out
}

// negativeLog is the sum of -log p over the targets, and their number.
func negativeLog(p events.Probabilities) (sum float64, targets int) {
	for _, sequence := range p.Sequences {
		for _, v := range sequence {
			if v == v {
				sum, targets = sum-math.Log(float64(v)), targets+1
			}
		}
	}
	return sum, targets
}

// Whatever the run, the probabilities are those of the batch that its preview shows, they say what its losses say, and
// no byte of what is trained and no plan depends on whether they are told.
func TestWatchedProbabilities(t *testing.T) {
	model, data := demotest.Model(t, 3, nil), demotest.Rows(t, 2)
	source, err := pretrained.Open(model)
	require.NoError(t, err)
	defer source.Close()
	rows, _, err := dataset.Open(data)
	require.NoError(t, err)
	minimum := int64(0)
	for _, test := range []struct {
		name   string
		change func(*Config)
	}{
		{"resident", func(*Config) {}},
		{"packed, every token a target", func(c *Config) { c.Packing, c.TrainOnInputs = true, true }},
		{"within the least budget", func(c *Config) { c.VRAMBudget = fmt.Sprintf("%dB", minimum) }},
		{"paged and rounded", func(c *Config) {
			c.Optim, c.ActivationDType, c.GradientCheckpointing = "paged_adamw_32bit", "bf16", "selective"
		}},
		{"dropout", func(c *Config) { c.LoraDropout = 0.5 }},
	} {
		t.Run(test.name, func(t *testing.T) {
			settings := func() Config {
				c := small(t, model, data)
				c.GradientAccumulationSteps, c.LearningRate = 1, 0.02
				test.change(&c)
				return c
			}
			plain := runWatched(t, t.Context(), settings(), false, Prompts{}, nil)
			require.Empty(t, plain.told)
			if minimum == 0 {
				minimum = plain.plan.Minimum
			}
			c := settings()
			got := runWatched(t, t.Context(), c, true, Prompts{Every: 2}, nil)
			require.Equal(t, plain.losses, got.losses)
			require.Equal(t, plain.adapter, got.adapter)
			require.Equal(t, plain.plan, got.plan)
			log, err := os.ReadFile(filepath.Join(c.OutputDir, logFile))
			require.NoError(t, err)
			require.NotContains(t, string(log), "sequences")

			unbound := c // the preview is of another device, whose limits ask for more
			unbound.VRAMBudget = ""
			shown, err := preview.Of(t.Context(), unbound, preview.Inputs{Model: source, Data: rows})
			require.NoError(t, err)
			require.Len(t, got.told, 3)
			for i, told := range got.told {
				require.Equal(t, 2*i, told.Step)
				require.Len(t, told.Sequences, len(shown.Batch))
				for s, sequence := range shown.Batch {
					require.Len(t, told.Sequences[s], len(sequence))
					for k, token := range sequence {
						p := float64(told.Sequences[s][k])
						require.Equal(t, token.Target, p >= 0 && p <= 1, "sequence %d, token %d: %v", s, k, p)
						require.Equal(t, !token.Target, math.IsNaN(p))
					}
				}
			}
			sum, targets := negativeLog(got.told[0])
			require.InEpsilon(t, got.losses[0], sum/float64(targets), 1e-5, "the first step's loss is the base model's")

			// All rows are in the batch, so the adapter's loss over them is that of the last probabilities.
			e := evaluation(model, c.OutputDir, data)
			e.TrainOnInputs = c.TrainOnInputs
			eval, err := answer.Evaluate(t.Context(), e, func(Event) {})
			require.NoError(t, err)
			sum, targets = negativeLog(got.told[2])
			require.Equal(t, eval.TargetTokens, int64(targets))
			require.InEpsilon(t, eval.Loss, sum/float64(targets), 1e-4)
			require.Less(t, eval.Loss, 0.9*got.losses[0], "the probabilities moved")
		})
	}
}

// Together with prompts they come when those are answered; a run that goes on tells the base model's again, and those
// it goes on from.
func TestWatchingWithPrompts(t *testing.T) {
	model, data := demotest.Model(t, 1, nil), demotest.Rows(t, 8)
	c := small(t, model, data)
	prompts := Prompts{Texts: []string{"Where is Ana?"}, Every: 3, MaxTokens: 2}
	ctx, stop := context.WithCancel(t.Context())
	var kinds []string
	first := runWatched(t, ctx, c, true, prompts, func(e Event) {
		switch e := e.(type) {
		case events.Step:
			if e.Step == 2 {
				stop()
			}
		case events.Answer:
			kinds = append(kinds, fmt.Sprint(e.Kind(), e.Step))
		case events.Probabilities:
			kinds = append(kinds, fmt.Sprint(e.Kind(), e.Step))
		}
	})
	require.Equal(t, []string{"answer0", "probabilities0"}, kinds)
	c.ResumeFromCheckpoint = "auto"
	second := runWatched(t, t.Context(), c, true, prompts, nil)
	var steps []int
	for _, told := range second.told {
		steps = append(steps, told.Step)
	}
	require.Equal(t, []int{0, 2, 3, 4}, steps)
	base, _ := negativeLog(first.told[0])
	again, _ := negativeLog(second.told[0])
	require.Equal(t, base, again)

	source, err := pretrained.Open(model)
	require.NoError(t, err)
	defer source.Close()
	rows, _, err := dataset.Open(data)
	require.NoError(t, err)
	in := Inputs{Model: source, Data: rows, Output: Folder{}, Cache: host.MeasurementsIn(""), Watch: true, Prompts: Prompts{Every: -1}}
	_, err = Run(t.Context(), small(t, model, data), in, func(Event) {})
	require.ErrorContains(t, err, "prompts' every is -1")
}
