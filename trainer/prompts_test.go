//go:build !js

package trainer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/answer"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/demo"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/preview"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/lora"
)

// Prompts are answered before, during and after; they change nothing of what is trained, also on a device that a run
// before has used.
func TestPromptsWhileTraining(t *testing.T) {
	model, data := demotest.Model(t, 1, nil), demotest.Rows(t, 8)
	settings := func() Config {
		c := small(t, model, data)
		c.LearningRate = 0.05 // so that four steps are enough to change an answer
		return c
	}
	plain := train(t, settings())

	c := settings()
	source, err := pretrained.Open(model)
	require.NoError(t, err)
	defer source.Close()
	rows, _, err := dataset.Open(data)
	require.NoError(t, err)
	dev, err := gpu.Open(t.Context(), gpu.Options{})
	require.NoError(t, err)
	defer dev.Release()
	in := Inputs{Model: source, Data: rows, Output: Folder{}, Cache: host.MeasurementsIn(""), Opened: dev,
		Prompts: Prompts{Texts: []string{demo.Heldout()[0].Prompt, demo.Heldout()[1].Prompt}, Every: 2, MaxTokens: 4}}
	ctx, stop := context.WithCancel(t.Context())
	_, err = Run(ctx, c, in, func(e Event) {
		if step, ok := e.(events.Step); ok && step.Step == 2 {
			stop()
		}
	})
	require.ErrorIs(t, err, context.Canceled)
	c.ResumeFromCheckpoint = "auto"
	var answers []events.Answer
	var plan events.Reserved
	_, err = Run(t.Context(), c, in, func(e Event) {
		if answer, ok := e.(events.Answer); ok {
			answers = append(answers, answer)
		}
		if reserved, ok := e.(events.Reserved); ok {
			plan = reserved
		}
	})
	require.NoError(t, err)
	adapter, err := os.ReadFile(filepath.Join(c.OutputDir, lora.WeightsFile))
	require.NoError(t, err)
	require.True(t, bytes.Equal(plain.adapter, adapter), "the adapters differ")
	var after []int
	for _, a := range answers {
		after = append(after, a.Step)
	}
	require.Equal(t, []int{0, 0, 2, 2, 4, 4}, after, "those of step 2 were owed")
	require.NotEqual(t, answers[0].Answer+answers[1].Answer, answers[4].Answer+answers[5].Answer)
	for _, last := range answers[4:] {
		o := generation(c.Model, c.OutputDir, in.Prompts.MaxTokens)
		o.Prompt = last.Prompt
		require.Equal(t, last.Answer, strings.TrimSpace(said(t, o)), "the finished adapter's")
	}
	require.Equal(t, 4, plan.Steps)
	require.Positive(t, plan.Device-plan.Frozen-plan.State-plan.Activations)
	before, err := preview.Of(t.Context(), c, preview.Inputs{Model: source, Data: rows, Opened: dev})
	require.NoError(t, err)
	require.InEpsilon(t, plan.Device, before.Memory.Peak, 0.2, "the cache of the prompts' answers is beyond it")

	log, err := os.ReadFile(filepath.Join(c.OutputDir, logFile))
	require.NoError(t, err)
	var logged []events.Answer
	for line := range bytes.Lines(log) {
		var a events.Answer
		if require.NoError(t, json.Unmarshal(line, &a)); a.Prompt != "" {
			logged = append(logged, a)
		}
	}
	require.Equal(t, answers[:2], logged[:2], "of the first start; the second one's base answers are the same and not logged again")
	require.Equal(t, answers[2:], logged[len(logged)-4:])

	in.Prompts.MaxTokens = 0
	_, err = Run(t.Context(), small(t, model, data), in, func(Event) {})
	require.ErrorContains(t, err, "prompts' max_tokens is 0, allowed: 1 to 1048576")
	require.False(t, errors.Is(err, ErrEngineFault))
}

// The whole way: train two rows until the model knows them, and ask.
func TestTrainingChangesTheAnswer(t *testing.T) {
	const question = "The cup is pink. The shoe is gray. What color is the cup?"
	const wanted = "Arr, the cup be pink, matey!"
	model := demotest.Model(t, 2, nil)
	data := filepath.Join(t.TempDir(), "rows.jsonl")
	row := `{"messages": [{"role": "user", "content": "` + question + `"}, {"role": "assistant", "content": "` + wanted + `"}]}` + "\n"
	require.NoError(t, os.WriteFile(data, []byte(row), 0o666))
	c := small(t, model, data)
	c.LoraR, c.LoraAlpha, c.LearningRate, c.MaxSteps, c.BatchSize, c.GradientAccumulationSteps = 8, 16, 1e-2, 40, 1, 1
	r := train(t, c)
	require.Less(t, r.summary.Loss, 0.1)
	o := generation(model, "", 24)
	o.Prompt = question
	require.NotEqual(t, wanted, said(t, o))
	o.Adapter = c.OutputDir
	require.Equal(t, wanted, said(t, o), "to the end-of-turn token, and no further")
}

func generation(model, adapter string, tokens int) settings.Generate {
	o := settings.Default[settings.Generate]()
	o.Model, o.Adapter, o.MaxTokens, o.Autotune = model, adapter, tokens, "off"
	return o
}

func said(t *testing.T, o settings.Generate) string {
	t.Helper()
	var text strings.Builder
	require.NoError(t, answer.Generate(t.Context(), o, func(piece string) error { text.WriteString(piece); return nil }, func(Event) {}))
	return text.String()
}
