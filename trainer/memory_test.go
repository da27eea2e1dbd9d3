//go:build !js

package trainer

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/paging"
)

// Whatever is paged, losses and adapter are those of the resident run, and the allocator counts what was planned.
func TestPagingChangesNothing(t *testing.T) {
	model, data := demotest.Model(t, 5, nil), demotest.Rows(t, 8)
	run := func(budget, optim string) (result, *paging.Plan) {
		c := small(t, model, data)
		c.VRAMBudget, c.Optim, c.LoraR, c.MaxSteps = budget, optim, 16, 3
		var plan *paging.Plan
		r, err := tryTrain(t, t.Context(), c, func(e Event) {
			if memory, ok := e.(events.Memory); ok {
				plan = memory.Plan
			}
		})
		require.NoError(t, err)
		r.adapter = adapterOf(t, c)
		require.NotNil(t, plan)
		for _, s := range r.steps {
			require.InEpsilon(t, plan.Peak, s.PeakDeviceBytes, 0.01)
			if plan.Budget > 0 {
				require.LessOrEqual(t, s.PeakDeviceBytes, plan.Budget)
			}
		}
		return r, plan
	}
	resident, all := run("", "adamw_32bit")
	require.Zero(t, resident.steps[0].PageIns)
	t.Log(all.String())
	require.LessOrEqual(t, float64(all.Minimum), 0.4*float64(all.Peak))
	for _, c := range []struct {
		budget int64
		optim  string
	}{{0, "paged_adamw_32bit"}, {all.Minimum, "adamw_32bit"}, {(all.Minimum + all.Peak) / 2, "adamw_32bit"}} {
		text := ""
		if c.budget > 0 {
			text = fmt.Sprintf("%dB", c.budget)
		}
		got, plan := run(text, c.optim)
		t.Log(plan.String())
		t.Logf("%d page-ins, %d page-outs, %.1f ms stalled", got.steps[1].PageIns, got.steps[1].PageOuts, got.steps[1].StallMS)
		require.Equal(t, losses(resident), losses(got))
		require.True(t, bytes.Equal(resident.adapter, got.adapter), "the adapters differ")
		require.Greater(t, got.steps[1].PageIns, plan.Slots+paging.StateSlots)
	}
}

// A run that was cancelled goes on with another budget and ends with the same bytes.
func TestBudgetsMayChangeOnResume(t *testing.T) {
	model, data := demotest.Model(t, 2, nil), demotest.Rows(t, 12)
	settings := func() Config {
		c := small(t, model, data)
		c.ValSize, c.EvalSteps = 4, 2
		return c
	}
	whole := settings()
	want := train(t, whole)
	c := settings()
	ctx, cancel := context.WithCancel(t.Context())
	var plan *paging.Plan
	_, err := tryTrain(t, ctx, c, func(e Event) {
		if memory, ok := e.(events.Memory); ok {
			plan = memory.Plan
		}
		if step, ok := e.(events.Step); ok && step.Step == 2 {
			cancel()
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	c.ResumeFromCheckpoint, c.VRAMBudget = "auto", fmt.Sprintf("%dB", plan.Minimum)
	got := train(t, c)
	require.Positive(t, got.steps[0].PageIns)
	require.Equal(t, logged(t, whole), logged(t, c))
	require.True(t, bytes.Equal(want.adapter, got.adapter))
}

// A device that refuses memory is planned for again; one that has too little is told what would be enough.
func TestOutOfMemoryPlansAgain(t *testing.T) {
	folder, data := demotest.Model(t, 3, nil), demotest.Rows(t, 8)
	c := small(t, folder, data)
	var resident *paging.Plan
	want, err := tryTrain(t, t.Context(), c, func(e Event) {
		if memory, ok := e.(events.Memory); ok {
			resident = memory.Plan
		}
	})
	require.NoError(t, err)
	run := func(total int64) (said string, plan *paging.Plan, steps []float64, err error) {
		c := small(t, folder, data)
		in := Inputs{Output: Folder{}, Cache: host.MeasurementsIn(""), HostMemory: func() (int64, int64) { return total, 1 << 40 }}
		in.Model, err = pretrained.Open(c.Model)
		require.NoError(t, err)
		defer in.Model.Close()
		in.Data, _, err = dataset.Open(c.Data)
		require.NoError(t, err)
		_, err = Run(t.Context(), c, in, func(e Event) {
			said += e.String() + "\n"
			if memory, ok := e.(events.Memory); ok {
				plan = memory.Plan
			}
			if step, ok := e.(events.Step); ok {
				steps = append(steps, step.Loss)
			}
		})
		return said, plan, steps, err
	}
	said, plan, steps, err := run(resident.Peak - 1000)
	require.NoError(t, err)
	require.Contains(t, said, "Planning again for")
	require.Less(t, plan.Peak, resident.Peak-1000)
	require.Equal(t, losses(want), steps)
	_, _, _, err = run(resident.Minimum - 1000)
	require.ErrorContains(t, err, fmt.Sprintf("%d bytes", resident.Minimum))
}

// A graphics card that refuses what a resident run takes is planned for before the model is loaded.
func TestCardIsProbed(t *testing.T) {
	folder, data := demotest.Model(t, 3, nil), demotest.Rows(t, 8)
	dev, err := gpu.Open(context.Background(), gpu.Options{})
	require.NoError(t, err)
	defer dev.Release()
	dev.Info.Type = "discrete"
	run := func(budget string) (said string, plan *paging.Plan, steps []float64, err error) {
		c := small(t, folder, data)
		c.VRAMBudget, c.MaxSteps, c.LoraR = budget, 2, 64
		in := Inputs{Output: Folder{}, Cache: host.MeasurementsIn(""), Opened: dev}
		in.Model, err = pretrained.Open(c.Model)
		require.NoError(t, err)
		defer in.Model.Close()
		in.Data, _, err = dataset.Open(c.Data)
		require.NoError(t, err)
		_, err = Run(t.Context(), c, in, func(e Event) {
			said += e.String() + "\n"
			if memory, ok := e.(events.Memory); ok {
				plan = memory.Plan
			}
			if step, ok := e.(events.Step); ok {
				steps = append(steps, step.Loss)
			}
		})
		return said, plan, steps, err
	}
	said, all, want, err := run("")
	require.NoError(t, err)
	require.NotContains(t, said, "planning for")
	require.Zero(t, all.Budget)
	card := all.Peak / 10 * 8
	dev.LimitMemory(card)
	said, plan, steps, err := run("")
	require.NoError(t, err)
	require.Regexp(t, `The device holds \S+ MiB, a run with everything resident takes \S+ MiB: planning for`, said)
	require.NotContains(t, said, "Planning again")
	require.Equal(t, want, steps)
	require.Less(t, plan.Budget, card)
	require.LessOrEqual(t, plan.Peak, plan.Budget)
}
