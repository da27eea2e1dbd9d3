//go:build !js

package trainer

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/paging"
)

// With a budget, answers and losses are the same, and the allocator counts what was planned; a larger question plans again.
func TestInferenceWithinABudget(t *testing.T) {
	o := generation(demotest.Model(t, 5, nil))
	o.MaxTokens, o.CacheDir = 8, t.TempDir()
	c := small(t, o.Model, demotest.Rows(t, 8))
	c.MaxSteps = 1
	train(t, c)
	o.Adapter = c.OutputDir
	data, _, err := dataset.Open(c.Data)
	require.NoError(t, err)
	resident := opened(t, o)
	text := answer(t, resident, question)
	stats, err := resident.Evaluate(t.Context(), data, 0, true)
	require.NoError(t, err)

	open := func(budget string) (*Answerer, *[]*paging.Plan) {
		o.VRAMBudget = budget
		plans := new([]*paging.Plan)
		a, err := OpenAnswerer(t.Context(), o, func(e Event) {
			if memory, ok := e.(events.Memory); ok {
				*plans = append(*plans, memory.Plan)
			}
		})
		require.NoError(t, err)
		t.Cleanup(a.Close)
		return a, plans
	}
	ample, plans := open("1GiB")
	require.Equal(t, text, answer(t, ample, question))
	all := (*plans)[0]
	require.Equal(t, all.Peak, ample.session.dev.PeakBytes())
	require.Zero(t, ample.session.model.Store().TakeCounters().PageIns)

	least, plans := open(fmt.Sprintf("%dB", all.Minimum))
	require.Equal(t, text, answer(t, least, question))
	require.Len(t, *plans, 1)
	require.Equal(t, all.Minimum, (*plans)[0].Peak)
	require.Equal(t, all.Minimum, least.session.dev.PeakBytes())
	require.Less(t, float64(all.Minimum), 0.6*float64(all.Peak))
	require.Greater(t, least.session.model.Store().TakeCounters().PageIns, 5*8)
	less, _ := open(fmt.Sprintf("%dB", all.Minimum-1))
	err = less.Answer(t.Context(), question, nil)
	require.ErrorContains(t, err, fmt.Sprintf("(%d bytes) (give --vram-budget at least ", all.Minimum))

	both, plans := open(fmt.Sprintf("%dB", all.Peak))
	require.Equal(t, text, answer(t, both, question))
	got, err := both.Evaluate(t.Context(), data, 0, true)
	require.NoError(t, err)
	require.Equal(t, stats.Loss, got.Loss)
	require.Len(t, *plans, 2)
	require.Equal(t, (*plans)[1].Peak, both.session.dev.PeakBytes())
	require.Equal(t, text, answer(t, both, question))
	require.Len(t, *plans, 2, "there is room for both")

	o.VRAMBudget = "6 apples"
	_, err = OpenAnswerer(t.Context(), o, func(Event) {})
	require.ErrorContains(t, err, "6 apples")
}
