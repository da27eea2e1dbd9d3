//go:build !js

package trainer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/demo"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/lora"
)

// Prompts are answered before, during and after; they change nothing of what is trained, also on a device that a run before has used.
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
	in := Inputs{Model: source, Data: rows, Output: nativeOutput{}, Cache: measurementCache(""), Opened: dev,
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
	require.Len(t, answers, 4, "two by the base model, two after step 4")
	require.Equal(t, 4, answers[2].Step)
	require.NotEqual(t, answers[0].Answer+answers[1].Answer, answers[2].Answer+answers[3].Answer)
	require.Equal(t, 4, plan.Steps)
	require.Positive(t, plan.Device-plan.Frozen-plan.State-plan.Activations)
	preview, err := PreviewData(c, in)
	require.NoError(t, err)
	require.InEpsilon(t, plan.Device, preview.Memory.Peak, 0.2, "the cache of the prompts' answers is beyond it")

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
	require.Equal(t, answers[2:], logged[len(logged)-2:])

	in.Prompts.MaxTokens = 0
	_, err = Run(t.Context(), small(t, model, data), in, func(Event) {})
	require.ErrorContains(t, err, "prompts' max_tokens is 0, allowed: 1 to 1048576")
	require.False(t, errors.Is(err, ErrEngineFault))
}

func TestPreviewMarksTheAnswers(t *testing.T) {
	model := demotest.Model(t, 1, nil)
	source, err := pretrained.Open(model)
	require.NoError(t, err)
	defer source.Close()
	data, err := dataset.Read(bytes.NewReader([]byte(`{"messages":[{"role":"user","content":"Where is Ana?"},{"role":"assistant","content":"Ana is in the café."}]}`)), "a.jsonl")
	require.NoError(t, err)
	c := small(t, model, "a.jsonl")
	p, err := PreviewData(c, Inputs{Model: source, Data: data})
	require.NoError(t, err)
	require.Equal(t, 4, p.Steps)
	require.Equal(t, 1, p.Report.Samples)
	require.Len(t, p.Batch, 1)
	var learned, whole string
	for _, token := range p.Batch[0] {
		whole += token.Text
		if token.Target {
			learned += token.Text
		}
	}
	require.Contains(t, whole, "Where is Ana?")
	require.Contains(t, learned, "Ana is in the café.")
	require.NotContains(t, learned, "Where")

	data.Rows[0].Messages = data.Rows[0].Messages[:1]
	_, err = PreviewData(c, Inputs{Model: source, Data: data})
	require.ErrorContains(t, err, "no supervised token in 1 rows")
}

func TestInspect(t *testing.T) {
	source, err := pretrained.Open(demotest.Model(t, 1, nil))
	require.NoError(t, err)
	defer source.Close()
	const name = "model.layers.0.self_attn.q_proj.weight"
	i, err := Inspect(source, name, 64, 3)
	require.NoError(t, err)
	total := 0
	for _, count := range i.Counts {
		total += count
	}
	require.Equal(t, i.Rows*i.Cols, total)
	require.Equal(t, total/64, i.Blocks)
	row := make([]float32, i.Cols)
	require.NoError(t, source.ReadRows(name, 3*64/i.Cols, 1, row))
	require.Equal(t, row[3*64%i.Cols:][:64], i.Values)
	require.InDelta(t, 4.127, i.Bits, 5e-4)
	require.InDelta(t, 0.09, i.Error, 0.04)
	require.InEpsilon(t, i.Absmax, i.StoredAbsmax, 0.05)
	for k, code := range i.Codes {
		require.InDelta(t, i.Values[k]/i.Absmax, i.Codebook[code], 0.16)
	}
	for _, block := range []int{-1, i.Blocks} {
		_, err = Inspect(source, name, 64, block)
		require.ErrorContains(t, err, "has no block")
	}
	_, err = Inspect(source, "nonsense", 64, 0)
	require.ErrorContains(t, err, `no tensor "nonsense"`)
}
