//go:build !js

package trainer

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/events"
)

const (
	noRate     = "warning: No step of this run has a learning rate above 0, so that the adapter will not change: "
	changesNot = "warning: The adapter changes nothing: B is 0 in all its layers, as it was before the first step"
	stillThat  = "warning: The adapter is still that of init_adapter, to the bit"
)

// A run that cannot learn says so before its first step; one that did not, at its end; no other run does.
func TestRunsThatChangeNothing(t *testing.T) {
	model, data := demotest.Model(t, 1, nil), demotest.Rows(t, 8)
	learned := small(t, model, data)
	for _, test := range []struct {
		name          string
		change        func(*Config)
		before, after string
	}{
		{"it learns", func(*Config) {}, "", ""},
		{"one step of constant rate", func(c *Config) { c.MaxSteps, c.LRSchedulerType = 1, Constant }, "", ""},
		{"two steps of a longer warm-up", func(c *Config) { c.MaxSteps, c.WarmupSteps = 2, 100 }, "", ""},
		{"one step, which is the warm-up", func(c *Config) { c.MaxSteps = 1 },
			noRate + "the run has 1, and the warm-up begins", changesNot + "."},
		{"the same by epochs", func(c *Config) { c.MaxSteps, c.BatchSize, c.LRSchedulerType = 0, 8, Cosine },
			noRate + "the run has 1", changesNot + "."},
		{"no rate", func(c *Config) { c.LearningRate, c.MaxSteps = 0, 2 }, noRate + "learning_rate is 0.", changesNot + "."},
		{"no rate for another adapter", func(c *Config) { c.LearningRate, c.MaxSteps, c.InitAdapter = 0, 2, learned.OutputDir },
			noRate, stillThat + "."},
		{"another adapter that learns", func(c *Config) { c.MaxSteps, c.InitAdapter = 2, learned.OutputDir }, "", ""},
		{"every update skipped", func(c *Config) { c.MaxSteps, c.InitAdapter = 4, broken(t) }, "", stillThat + ": every update was skipped."},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := small(t, model, data)
			if test.name == "it learns" {
				c = learned
			}
			test.change(&c)
			before, all := "", ""
			_, err := tryTrain(t, t.Context(), c, func(e Event) {
				if _, first := e.(events.Step); first && before == "" {
					before = all
				}
				all += e.Kind() + ": " + e.String() + "\n"
			})
			require.NoError(t, err)
			after := strings.TrimPrefix(all, before)
			for _, said := range []struct{ all, wanted, kinds string }{{before, test.before, noRate}, {after, test.after, "warning: The adapter "}} {
				if said.wanted == "" {
					require.NotContains(t, all, said.kinds)
				} else {
					require.Contains(t, said.all, said.wanted)
				}
			}
		})
	}
}

// What the plan says of a run is what its steps then are: windows end with an epoch.
func TestThePlanIsTrue(t *testing.T) {
	model, data := demotest.Model(t, 1, nil), demotest.Rows(t, 9)
	for _, test := range []struct {
		change func(*Config)
		plan   string
	}{
		{func(c *Config) { c.BatchSize, c.GradientAccumulationSteps, c.NumTrainEpochs = 64, 8, 2 },
			"Plan: 2 steps of 8 × 64 sequences, learning rate 0.003 (linear, 1 steps of warm-up), about 2.00 epochs"},
		{func(c *Config) { c.NumTrainEpochs = 1.5 }, // 5 batches, in windows of 2, 2 and 1
			"Plan: 5 steps of 2 × 2 sequences, learning rate 0.003 (linear, 1 steps of warm-up), about 1.80 epochs"},
		{func(c *Config) { c.MaxSteps, c.LRSchedulerType = 3, Constant },
			"Plan: 3 steps of 2 × 2 sequences, learning rate 0.003 (constant, 0 steps of warm-up), about 1.00 epochs"},
		{func(c *Config) { c.MaxSteps, c.WarmupSteps, c.LRSchedulerType = 2, 50, ConstantWithWarmup },
			"Plan: 2 steps of 2 × 2 sequences, learning rate 0.003 (constant_with_warmup, 2 steps of warm-up), about 0.80 epochs"},
	} {
		c := small(t, model, data)
		c.MaxSteps = 0
		test.change(&c)
		r := train(t, c)
		require.Contains(t, r.said, "schedule: "+test.plan+"\n")
		last := r.steps[len(r.steps)-1]
		require.Contains(t, test.plan, "about "+fmt.Sprintf("%.2f", last.Epoch)+" epochs")
	}
}
