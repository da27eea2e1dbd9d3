//go:build !js

package trainer

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/demo"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/pretrained"
)

// slowly opens a device that takes many submissions a step.
func slowly(t *testing.T) *gpu.Device {
	t.Helper()
	dev, err := gpu.Open(t.Context(), gpu.Options{SubmitScale: 1e-3})
	require.NoError(t, err)
	t.Cleanup(dev.Release)
	return dev
}

// inputs opens the files of a run's configuration.
func inputs(t *testing.T, c Config, dev *gpu.Device) Inputs {
	t.Helper()
	source, err := pretrained.Open(c.Model)
	require.NoError(t, err)
	t.Cleanup(func() { source.Close() })
	rows, valid, err := dataset.Open(c.Data)
	require.NoError(t, err)
	return Inputs{Model: source, Data: rows, Valid: valid, Output: Folder{}, Cache: host.MeasurementsIn(""), Opened: dev}
}

// Whatever takes its time tells how far it is: in order, never beyond its total, and to its end.
func TestProgressGrowsToItsTotal(t *testing.T) {
	c := small(t, demotest.Model(t, 2, nil), demotest.Rows(t, 24))
	c.MaxSteps, c.SaveSteps, c.EvalSteps, c.ValSize = 3, 2, 2, 8
	in := inputs(t, c, slowly(t))
	in.Prompts = Prompts{Texts: []string{demo.Heldout()[0].Prompt, demo.Heldout()[1].Prompt}, Every: 2, MaxTokens: 24}
	last := map[string]events.Progress{}
	ends := map[string]int{}
	var text, answered string
	var saving []int
	_, err := Run(t.Context(), c, in, func(e Event) {
		switch e := e.(type) {
		case events.Answering:
			require.Equal(t, ends["answering"], map[int]int{0: 0, 2: 1, 3: 2}[e.Step])
			if e.Done < e.Total {
				require.Equal(t, in.Prompts.Texts[e.Done], e.Prompt)
				require.True(t, text == "" || strings.HasPrefix(e.Text, text) || e.Text == "", "%q after %q", e.Text, text)
			}
			text = e.Text
		case events.Answer:
			require.True(t, strings.HasPrefix(e.Answer, text), "%q after %q", e.Answer, text)
			answered, text = answered+e.Answer, ""
		case events.Saving:
			if e.Done == 0 {
				saving = append(saving, e.Step)
			}
		}
		p, ok := e.(events.Progress)
		if !ok {
			return
		}
		done, total := p.Progress()
		require.LessOrEqual(t, done, total, "%#v", e)
		if before := last[e.Kind()]; before != nil {
			was, of := before.Progress()
			require.True(t, was == of || done >= was && of == total, "%#v after %#v", e, before)
		}
		if last[e.Kind()] = p; done == total && total > 0 {
			ends[e.Kind()]++
		}
	})
	require.NoError(t, err)
	for kind, p := range last {
		done, total := p.Progress()
		require.Equal(t, total, done, kind)
	}
	require.Equal(t, 3, ends["answering"], "before the first step, after the second and the last")
	require.Equal(t, 1, ends["load"])
	require.Equal(t, 2, ends["saving"], "checkpoint-2, and at the end adapter and checkpoint together")
	require.Equal(t, []int{2, 3}, saving)
	require.NotEmpty(t, answered)
	require.FileExists(t, filepath.Join(c.OutputDir, "checkpoint-3", "manifest.json"))
}

// A step that takes its time tells how far the device is; of how much is known from the second step on.
func TestAStepTellsHowFarItIs(t *testing.T) {
	c := small(t, demotest.Model(t, 2, nil), demotest.Rows(t, 8))
	r, err := prepare(t.Context(), c, inputs(t, c, slowly(t)), func(Event) {})
	require.NoError(t, err)
	defer r.release()
	window, _, err := r.loader.Window()
	require.NoError(t, err)
	window = slices.Repeat(window, 4)
	var steps [3][]events.Part
	for i := range steps {
		r.engine.Stepping = func(p events.Part) { steps[i] = append(steps[i], p) }
		_, err = r.engine.Step(t.Context(), window, 0, r.optimizer())
		require.NoError(t, err)
	}
	for i, told := range steps {
		require.NotEmpty(t, told, "step %d", i)
		for j, p := range told {
			require.Equal(t, told[0].Total, p.Total)
			require.True(t, j == 0 || p.Done > told[j-1].Done, "%v", told)
		}
		require.Equal(t, told[0].Total, told[len(told)-1].Done)
	}
	require.Equal(t, steps[1][0].Total, steps[2][0].Total)
	require.InEpsilon(t, steps[1][0].Total, steps[0][0].Total, 0.5, "the plan's worst is not far off")
}
