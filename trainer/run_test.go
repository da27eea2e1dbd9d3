//go:build !js

package trainer

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/answer"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/demo"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/preview"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

func TestMain(m *testing.M) {
	demotest.OwnCache()
	os.Exit(m.Run())
}

// small is a run of a few seconds over the embedded model's first layer.
func small(t *testing.T, model, data string) Config {
	c := Defaults()
	c.Model, c.Data, c.OutputDir = model, data, filepath.Join(t.TempDir(), "out")
	c.LoraR, c.LoraAlpha, c.LearningRate, c.Autotune = 4, 8, 3e-3, "off"
	c.BatchSize, c.GradientAccumulationSteps, c.MaxSteps, c.SaveSteps = 2, 2, 4, 0
	return c
}

// evaluation has the settings of one without autotune.
func evaluation(model, adapter, data string) settings.Eval {
	o := settings.Default[settings.Eval]()
	o.Model, o.Adapter, o.Data, o.Autotune = model, adapter, data, "off"
	return o
}

// result is what a run left and said.
type result struct {
	summary *Summary
	steps   []StepStats
	evals   []EvalStats
	said    string
	adapter []byte
}

// train runs to the end.
func train(t *testing.T, c Config) result {
	t.Helper()
	r, err := tryTrain(t, t.Context(), c, nil)
	require.NoError(t, err, r.said)
	require.FileExists(t, filepath.Join(c.OutputDir, "README.md"))
	r.adapter = adapterOf(t, c)
	return r
}

func adapterOf(t *testing.T, c Config) []byte {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(c.OutputDir, lora.WeightsFile))
	require.NoError(t, err)
	return data
}

func tryTrain(t *testing.T, ctx context.Context, c Config, watch func(Event)) (r result, err error) {
	t.Helper()
	r.summary, err = Train(ctx, c, func(e Event) {
		switch e := e.(type) {
		case events.Step:
			r.steps = append(r.steps, e)
		case events.Eval:
			r.evals = append(r.evals, e)
		default:
			r.said += e.Kind() + ": " + e.String() + "\n"
		}
		if watch != nil {
			watch(e)
		}
	})
	return r, err
}

func losses(r result) (out []float64) {
	for _, s := range r.steps {
		out = append(out, s.Loss)
	}
	return out
}

func TestOneSeedGivesTheSameBytes(t *testing.T) {
	model, data := demotest.Model(t, 1, nil), demotest.Rows(t, 12)
	with := func(change func(*Config)) result {
		c := small(t, model, data)
		change(&c)
		return train(t, c)
	}
	plain := func(*Config) {}
	packing := func(c *Config) { c.Packing, c.MaxSeqLength = true, 96 }
	dropout := func(c *Config) { packing(c); c.LoraDropout = 0.1 }
	seen := []result{with(func(c *Config) { c.Seed = 43 }), with(packing)}
	for _, change := range []func(*Config){plain, dropout} {
		a, b := with(change), with(change)
		require.Equal(t, losses(a), losses(b))
		require.True(t, bytes.Equal(a.adapter, b.adapter), "the adapters differ")
		for _, other := range seen {
			require.False(t, bytes.Equal(a.adapter, other.adapter), "seed, packing and dropout each change the run")
		}
		seen = append(seen, a)
	}
}

// An epoch of 5 micro-batches has windows of 2, 2 and 1; every row is seen once in it.
func TestWindowsEndWithTheEpoch(t *testing.T) {
	model, data := demotest.Model(t, 1, nil), demotest.Rows(t, 9)
	c := small(t, model, data)
	c.MaxSteps, c.NumTrainEpochs = 0, 1.5
	r := train(t, c)
	require.Len(t, r.steps, 5, "⌈1.5 epochs · 3 steps⌉")
	var epochs []float64
	for _, s := range r.steps {
		epochs = append(epochs, s.Epoch)
		require.Equal(t, 5, s.MaxSteps)
	}
	require.InDeltaSlice(t, []float64{0.4, 0.8, 1, 1.4, 1.8}, epochs, 1e-12)
	tokens, targets := r.steps[2].NumTokens, r.steps[0].TargetTokens+r.steps[1].TargetTokens+r.steps[2].TargetTokens
	require.Contains(t, r.said, fmt.Sprintf("9 rows, 9 samples, %d tokens, %d of them targets", tokens, targets))
}

// A cancelled run goes on as if nothing had been, wherever it is cancelled: at the end of an epoch, before an
// evaluation that is due, before the last one.
func TestCancelledRunsGoOn(t *testing.T) {
	model, data := demotest.Model(t, 1, nil), demotest.Rows(t, 13)
	settings := func() Config {
		c := small(t, model, data)
		c.ValSize, c.EvalSteps, c.MaxSteps, c.LoraDropout = 4, 2, 8, 0.1 // 9 rows to train on: 3 steps an epoch
		return c
	}
	whole := settings()
	want := train(t, whole)
	require.Len(t, want.evals, 4)
	require.Less(t, want.evals[3].Loss, want.evals[0].Loss, "it learns")
	c := settings()
	for _, at := range []int{3, 4, 8} {
		ctx, cancel := context.WithCancel(t.Context())
		_, err := tryTrain(t, ctx, c, func(e Event) {
			if step, ok := e.(events.Step); ok && step.Step == at {
				cancel()
			}
		})
		require.ErrorIs(t, err, context.Canceled)
		require.FileExists(t, filepath.Join(c.OutputDir, fmt.Sprintf("checkpoint-%d", at), "manifest.json"))
		require.NoFileExists(t, filepath.Join(c.OutputDir, lora.WeightsFile))
		c.ResumeFromCheckpoint = "auto"
	}
	got := train(t, c)
	require.Empty(t, got.steps, "only the evaluation was left")
	require.Equal(t, logged(t, whole), logged(t, c))
	require.True(t, bytes.Equal(want.adapter, got.adapter))
	require.Equal(t, want.summary.Eval.Loss, got.summary.Eval.Loss)
}

// Moments in 8 bits take less memory, train as well, and come back from a checkpoint to the byte, those of small
// tensors in 32 bits too, and paged or not.
func TestEightBitMoments(t *testing.T) {
	model, data := demotest.Model(t, 1, nil), demotest.Rows(t, 8)
	settings := func(optimizer string) Config {
		c := small(t, model, data)
		c.LoraR, c.Optim, c.SaveSteps = 32, optimizer, 4
		return c
	}
	wide, whole, c := settings("adamw_32bit"), settings("adamw_8bit"), settings("adamw_8bit")
	plain, want := train(t, wide), train(t, whole)
	require.Less(t, want.steps[0].DeviceBytes, plain.steps[0].DeviceBytes)
	require.Less(t, want.steps[3].Loss, want.steps[0].Loss)
	require.InDelta(t, plain.steps[3].Loss, want.steps[3].Loss, 0.02*plain.steps[3].Loss)
	require.NotEqual(t, losses(plain), losses(want))

	ctx, cancel := context.WithCancel(t.Context())
	cut, err := tryTrain(t, ctx, c, func(e Event) {
		if step, ok := e.(events.Step); ok && step.Step == 2 {
			cancel()
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	c.ResumeFromCheckpoint, c.Optim = "auto", "paged_adamw_8bit"
	got := train(t, c)
	require.Len(t, got.steps, 2)
	require.Positive(t, got.steps[0].PageIns)
	require.Equal(t, losses(want), append(losses(cut), losses(got)...))
	require.True(t, bytes.Equal(want.adapter, got.adapter))
	moments := func(c Config) (data []byte) {
		data, err := os.ReadFile(filepath.Join(c.OutputDir, "checkpoint-4", optimizerFile))
		require.NoError(t, err)
		return data
	}
	require.True(t, bytes.Equal(moments(whole), moments(c)))
	file, err := safetensors.Read(bytes.NewReader(moments(c)), int64(len(moments(c))), optimizerFile)
	require.NoError(t, err)
	kinds := map[safetensors.DType]int{}
	for _, tensor := range file.Tensors() {
		kinds[tensor.DType]++
	}
	require.Equal(t, map[safetensors.DType]int{safetensors.U32: 24, safetensors.F32: 4},
		kinds, "only B of k_proj and v_proj is below 4,096 elements")
	c.Optim, c.MaxSteps = "adamw_32bit", 6
	_, err = tryTrain(t, t.Context(), c, nil)
	require.ErrorContains(t, err, "optim was adamw_8bit, is adamw_32bit")
}

// logged is trainer_log.jsonl without what depends on the clock.
func logged(t *testing.T, c Config) (lines []map[string]any) {
	text, err := os.ReadFile(filepath.Join(c.OutputDir, logFile))
	require.NoError(t, err)
	for line := range bytes.Lines(text) {
		var entry map[string]any
		require.NoError(t, json.Unmarshal(line, &entry), string(line))
		for _, key := range []string{
			"seconds", "tokens_per_second", "device_bytes", "peak_device_bytes", "page_ins", "page_outs", "stall_ms", "eval_seconds",
		} {
			delete(entry, key)
		}
		lines = append(lines, entry)
	}
	return lines
}

// Submissions cut shorter, as the supervisor asks after a crash, compute the same.
func TestShorterSubmissionsChangeNothing(t *testing.T) {
	model, data := demotest.Model(t, 1, nil), demotest.Rows(t, 8)
	a := train(t, small(t, model, data))
	t.Setenv("QLORA_SUBMIT_SCALE", "0.001")
	b := train(t, small(t, model, data))
	require.True(t, bytes.Equal(a.adapter, b.adapter))
}

// valid.jsonl beside train.jsonl is what is evaluated, and `eval` with the finished adapter finds the same loss.
func TestEvaluationDuringAndAfterTraining(t *testing.T) {
	model, folder := demotest.Model(t, 1, nil), t.TempDir()
	lines := bytes.SplitAfter(demo.Train(), []byte("\n"))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "train.jsonl"), bytes.Join(lines[:8], nil), 0o666))
	valid := filepath.Join(folder, "valid.jsonl")
	empty := `{"messages":[{"role":"user","content":"a"},{"role":"assistant","content":""}]}` + "\n"
	require.NoError(t, os.WriteFile(valid, append([]byte(empty), bytes.Join(lines[8:14], nil)...), 0o666))
	c := small(t, model, folder)
	c.EvalSteps, c.MaxSteps, c.LRSchedulerType, c.WarmupSteps = 2, 5, Cosine, 2
	r := train(t, c)
	require.Contains(t, r.said, "Validation: 1 rows left out (no answer), the first at line 1")
	require.Len(t, r.evals, 3)
	for i, e := range r.evals {
		require.Equal(t, []int{2, 4, 5}[i], e.Step)
		require.Equal(t, 6, e.Rows)
		require.InEpsilon(t, e.Perplexity, math.Exp(e.Loss), 1e-12)
	}
	require.Less(t, r.evals[2].Loss, r.evals[0].Loss)
	for i, want := range []float64{0, 1.5e-3, 3e-3, 2.25e-3, 0.75e-3} {
		require.InDelta(t, want, r.steps[i].LearningRate, 1e-12)
	}
	stats, err := answer.Evaluate(t.Context(), evaluation(model, c.OutputDir, valid), func(Event) {})
	require.NoError(t, err)
	require.InEpsilon(t, r.summary.Eval.Loss, stats.Loss, 1e-6)
	require.Equal(t, r.summary.Eval.TargetTokens, stats.TargetTokens)
	some := evaluation(model, c.OutputDir, valid)
	some.Rows = "3:5"
	part, err := answer.Evaluate(t.Context(), some, func(Event) {})
	require.NoError(t, err)
	require.Equal(t, 2, part.Rows)
	require.NotEqual(t, stats.Loss, part.Loss)
}

// A run that does not fit the room is refused before anything is loaded, with the settings that would make it fit.
func TestARunWithoutRoomIsRefused(t *testing.T) {
	folder := demotest.Model(t, 5, nil)
	c := small(t, folder, demotest.Rows(t, 40))
	c.BatchSize, c.LoraR, c.GradientCheckpointing = 16, 32, CheckpointOff
	source, err := pretrained.Open(folder)
	require.NoError(t, err)
	defer source.Close()
	rows, _, err := dataset.Open(c.Data)
	require.NoError(t, err)
	whole, err := preview.Of(t.Context(), c, preview.Inputs{Model: source, Data: rows})
	require.NoError(t, err)
	in := Inputs{Model: source, Data: rows, Output: Folder{}, Cache: host.MeasurementsIn(""), Room: Room{Total: whole.Memory.Peak / 4 * 3}}
	_, err = Run(t.Context(), c, in, func(e Event) { require.NotEqual(t, "load", e.Kind()) })
	require.True(t, usererr.Is(err, usererr.Invalid))
	require.ErrorContains(t, err, "the run takes")
	require.ErrorContains(t, err, "change batch_size from 16 to")
}
