//go:build !js

package trainer

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/frozen"
	"qlora-wgpu/internal/kernels"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/optim"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/lora"
	"qlora-wgpu/paging"
)

// Computing activations again saves memory and changes no bit: with dropout, over several micro-batches, and where a
// tight budget moves them to the host.
func TestGradientCheckpointingChangesNothing(t *testing.T) {
	folder, data := demotest.Model(t, 2, nil), demotest.Rows(t, 8)
	run := func(setting, budget string) (result, *paging.Plan) {
		c := small(t, folder, data)
		c.LoraDropout, c.GradientCheckpointing, c.VRAMBudget = 0.2, setting, budget
		var plan *paging.Plan
		r, err := tryTrain(t, t.Context(), c, func(e Event) {
			if memory, ok := e.(events.Memory); ok {
				plan = memory.Plan
			}
		})
		require.NoError(t, err)
		r.adapter = adapterOf(t, c)
		return r, plan
	}
	off, resident := run(CheckpointOff, "")
	least := resident.Peak
	for _, setting := range []string{CheckpointSelective, CheckpointFull} {
		r, plan := run(setting, "")
		require.True(t, bytes.Equal(off.adapter, r.adapter), setting)
		require.Equal(t, losses(off), losses(r))
		require.Less(t, plan.Peak, least, setting)
		require.Equal(t, plan.Peak, r.steps[1].PeakDeviceBytes)
		least = plan.Peak
	}
	paged, plan := run(CheckpointSelective, fmt.Sprintf("%dB", resident.Minimum))
	require.Equal(t, paging.Offload, plan.Activations)
	require.Positive(t, paged.steps[1].PageOuts)
	require.True(t, bytes.Equal(off.adapter, paged.adapter))
}

// The same where micro-batches are cut into chunks, of which a short one leaves the last ones empty; each chunk has
// dropout masks of its own.
func TestRecomputedChunks(t *testing.T) {
	dev, err := gpu.Open(context.Background(), gpu.Options{})
	require.NoError(t, err)
	defer dev.Release()
	source, err := pretrained.Open(demotest.Model(t, 2, nil))
	require.NoError(t, err)
	defer source.Close()
	m, err := model.Load(t.Context(), dev, source, model.LoadOptions{Format: frozen.NF4(64)})
	require.NoError(t, err)
	defer m.Release()
	window := []model.Input{randomInput(40, source.Spec.Vocab), randomInput(9, source.Spec.Vocab)}
	steps := func(activations paging.Activations, chunk int) (trained []lora.Tensor) {
		adapter, err := lora.Attach(dev, m.Linears(), lora.Config{Rank: 4, Alpha: 8, Dropout: 0.2, Targets: []string{"all-linear"}},
			optim.Options{})
		require.NoError(t, err)
		defer adapter.Detach()
		require.NoError(t, adapter.Init(1))
		e, err := engine.New(dev, m, adapter, &paging.Plan{Decisions: paging.Decisions{Activations: activations}}, 7)
		require.NoError(t, err)
		defer e.Release()
		e.ChunkTokens = chunk
		require.NoError(t, e.ReserveTraining(40))
		for step := range 2 {
			update := optim.Settings{
				MaxGradNorm: 1, AdamW: kernels.AdamW{LearningRate: 1e-4, Beta1: 0.9, Beta2: 0.999, Epsilon: 1e-8, Step: step + 1},
			}
			_, err := e.Step(t.Context(), window, 0, update)
			require.NoError(t, err)
		}
		trained, err = adapter.Tensors(t.Context(), adapter.State.Param)
		require.NoError(t, err)
		return trained
	}
	want := steps(paging.Recompute, 16)
	require.NotEqual(t, want, steps(paging.Recompute, 40), "other masks")
	for _, activations := range []paging.Activations{paging.Selective, paging.Keep} {
		require.Equal(t, want, steps(activations, 16), activations)
	}
}

// Auto takes the least recompute with which everything stays on the device, to the byte, however activations are
// stored, and a resumed run goes on with it, or with what it is told.
func TestAutoFitsTheBudget(t *testing.T) {
	folder, data := demotest.Model(t, 3, nil), demotest.Rows(t, 8)
	c := small(t, folder, data)
	source, err := pretrained.Open(folder)
	require.NoError(t, err)
	defer source.Close()
	d := engine.TrainingDemand(source.Spec, c)
	d.Tokens, d.MicroBatches, d.Auto = 64, 2, true
	dev := gpu.NewDryDiscrete()
	for _, d.Start.Kept = range []gpu.DType{gpu.F32, gpu.BF16} {
		peak := map[string]int64{}
		for _, way := range engine.Checkpointing {
			exact := d
			exact.Auto, exact.Start.Activations = false, way.Activations
			p, err := exact.Plan(dev, 0)
			require.NoError(t, err)
			peak[way.Name] = p.Peak
		}
		for _, test := range []struct {
			budget int64
			want   string
		}{
			{0, CheckpointFull}, {1 << 40, CheckpointOff}, {peak[CheckpointOff], CheckpointOff}, {peak[CheckpointOff] - 1, CheckpointSelective},
			{peak[CheckpointSelective], CheckpointSelective}, {peak[CheckpointSelective] - 1, CheckpointFull},
			{peak[CheckpointFull] - 1, CheckpointFull},
		} {
			p, err := d.Plan(dev, test.budget)
			require.NoError(t, err)
			require.Equal(t, test.want, engine.CheckpointingOf(p.Activations), "%d", test.budget)
		}
	}

	c.SaveSteps = 2
	first := train(t, c)
	require.Contains(t, first.said, "gradient_checkpointing: auto is off, the least recompute that fits ")
	saved, err := OpenSaved(Folder{}, filepath.Join(c.OutputDir, "checkpoint-2"))
	require.NoError(t, err)
	require.Equal(t, CheckpointOff, saved.Settings.GradientCheckpointing)
	c.ResumeFromCheckpoint = saved.Path
	again := train(t, c)
	require.Len(t, again.steps, 2)
	require.NotContains(t, again.said, "auto is")
	require.Equal(t, first.adapter, again.adapter)
	c.GradientCheckpointing = CheckpointFull // which changes no bit, so the run may go on with it
	require.Equal(t, first.adapter, train(t, c).adapter)
}

// Activations in bf16 take less memory and give other gradients, the same in every run with the seed and wherever they
// and the weights lie. A checkpoint is for its own type, and how much is recomputed is never changed on the way, since
// that would change what is rounded.
func TestActivationsInBF16(t *testing.T) {
	folder, data := demotest.Model(t, 3, nil), demotest.Rows(t, 8)
	settings := func(dtype, checkpointing string) Config {
		c := small(t, folder, data)
		c.ActivationDType, c.GradientCheckpointing, c.LoraDropout, c.SaveSteps = dtype, checkpointing, 0.1, 2
		return c
	}
	run := func(c Config) (result, *paging.Plan) {
		var plan *paging.Plan
		r, err := tryTrain(t, t.Context(), c, func(e Event) {
			if memory, ok := e.(events.Memory); ok {
				plan = memory.Plan
			}
		})
		require.NoError(t, err)
		r.adapter = adapterOf(t, c)
		for _, s := range r.steps {
			require.InEpsilon(t, plan.Peak, s.PeakDeviceBytes, 0.01)
		}
		return r, plan
	}
	for _, checkpointing := range []string{CheckpointFull, CheckpointSelective} {
		wide, widePlan := run(settings(ActivationsF32, checkpointing))
		c := settings(ActivationsBF16, checkpointing)
		want, plan := run(c)
		require.Less(t, plan.Peak, widePlan.Peak)
		require.Equal(t, wide.steps[0].Loss, want.steps[0].Loss)
		require.NotEqual(t, losses(wide), losses(want))
		// The gradients of a step are off by 1e-3 to 5e-3 of them, and four steps moved the loss by a few percent.
		require.InEpsilonSlice(t, losses(wide), losses(want), 1e-3)
		again, _ := run(settings(ActivationsBF16, checkpointing))
		require.Equal(t, losses(want), losses(again))
		require.True(t, bytes.Equal(want.adapter, again.adapter))

		paged := settings(ActivationsBF16, checkpointing)
		paged.VRAMBudget = fmt.Sprintf("%dB", plan.Minimum)
		got, pagedPlan := run(paged)
		require.True(t, bytes.Equal(want.adapter, got.adapter))
		require.Positive(t, got.steps[1].PageIns)
		require.Equal(t, checkpointing, engine.CheckpointingOf(pagedPlan.Activations))
		require.Equal(t, checkpointing == CheckpointFull, pagedPlan.Activations == paging.Offload)

		c.ResumeFromCheckpoint, c.MaxSteps = filepath.Join(c.OutputDir, "checkpoint-2"), 6
		c.ActivationDType = ActivationsF32
		_, err := tryTrain(t, t.Context(), c, nil)
		require.ErrorContains(t, err, "activation_dtype was bf16, is f32")
		c.ActivationDType, c.GradientCheckpointing = ActivationsBF16, CheckpointOff
		_, err = tryTrain(t, t.Context(), c, nil)
		require.ErrorContains(t, err, "gradient_checkpointing was "+checkpointing+", is off")
	}
	// What a fixed choice cannot hold says which choice would.
	c := settings(ActivationsBF16, CheckpointOff)
	_, plan := run(c)
	full := settings(ActivationsBF16, CheckpointFull)
	_, fullPlan := run(full)
	require.Less(t, fullPlan.Minimum+2<<16, plan.Minimum)
	c.VRAMBudget, c.Overwrite = fmt.Sprintf("%dB", fullPlan.Minimum+1<<16), true
	_, err := tryTrain(t, t.Context(), c, nil)
	require.ErrorContains(t, err, "or set gradient_checkpointing to full")
}

// randomInput is one sequence whose every token predicts the next.
func randomInput(tokens, vocab int) model.Input {
	random := rand.New(rand.NewPCG(1, 2))
	in := engine.Worst(tokens)
	for i := range in.IDs {
		in.IDs[i] = uint32(random.IntN(vocab))
	}
	for i := range in.Targets {
		in.Targets[i] = -100
		if i+1 < tokens {
			in.Targets[i] = int32(in.IDs[i+1])
		}
	}
	return in
}
