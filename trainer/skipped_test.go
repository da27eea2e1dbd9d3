//go:build !js

package trainer

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/answer"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/safetensors"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

// broken writes an adapter that makes every loss infinite or NaN.
func broken(t *testing.T) string {
	dir := t.TempDir()
	var config, weights bytes.Buffer
	require.NoError(t, lora.Config{Rank: 1, Alpha: 1, Targets: []string{"v_proj"}}.WriteConfig(&config, ""))
	name := "base_model.model.model.layers.0.self_attn.v_proj."
	a := lora.Tensor{Name: name + "lora_A.weight", Rows: 1, Cols: 128, Values: make([]float32, 128)}
	b := lora.Tensor{Name: name + "lora_B.weight", Rows: 64, Cols: 1, Values: make([]float32, 64)}
	for i := range a.Values {
		a.Values[i] = 1e30 * float32(i%7-3)
	}
	for i := range b.Values {
		b.Values[i] = 1e30
	}
	require.NoError(t, lora.Config{}.WriteWeights(&weights, []lora.Tensor{a, b}))
	require.NoError(t, os.WriteFile(filepath.Join(dir, lora.ConfigFile), config.Bytes(), 0o666))
	require.NoError(t, os.WriteFile(filepath.Join(dir, lora.WeightsFile), weights.Bytes(), 0o666))
	return dir
}

func TestUpdatesThatAreNotFiniteAreSkipped(t *testing.T) {
	c := small(t, demotest.Model(t, 1, nil), demotest.Rows(t, 8))
	c.InitAdapter, c.MaxSteps, c.SaveSteps, c.ValSize, c.EvalSteps = broken(t), 30, 4, 2, 5
	r, err := tryTrain(t, t.Context(), c, nil)
	require.True(t, usererr.Is(err, usererr.Invalid))
	require.ErrorContains(t, err, "train: the loss or a gradient was not finite in 10 steps in a row, the last is step 10")
	require.ErrorContains(t, err, "(lower learning_rate; `qlora-wgpu check` tests the device)")
	require.Len(t, r.steps, 10)
	require.Contains(t, r.said,
		"warning: Step 3: the loss or a gradient is not finite (first in model.layers.0.self_attn.v_proj.lora_A.weight); the update "+
			"was skipped.\n")
	require.Contains(t, r.said, "warning: Step 5: the evaluation loss is not finite.\n")
	lines := logged(t, c)
	require.Len(t, lines, 11)
	require.Nil(t, lines[0]["loss"], "JSON has no NaN")
	require.Equal(t, true, lines[0]["skipped"])
	require.Contains(t, lines[5], "eval_loss")
	require.Nil(t, lines[5]["eval_loss"])

	// The parameters are those of before, and the moments are zero.
	before, err := os.ReadFile(filepath.Join(c.InitAdapter, lora.WeightsFile))
	require.NoError(t, err)
	after, err := os.ReadFile(filepath.Join(c.OutputDir, "checkpoint-8", lora.WeightsFile))
	require.NoError(t, err)
	require.Equal(t, before, after)
	moments, err := os.ReadFile(filepath.Join(c.OutputDir, "checkpoint-8", optimizerFile))
	require.NoError(t, err)
	file, err := safetensors.Read(bytes.NewReader(moments), int64(len(moments)), optimizerFile)
	require.NoError(t, err)
	require.Empty(t, strings.Trim(string(moments[file.DataStart():]), "\x00"))

	_, err = answer.Evaluate(t.Context(), evaluation(c.Model, c.InitAdapter, c.Data), func(Event) {})
	require.ErrorContains(t, err, "evaluate "+c.Data+": the loss is ")
	o := settings.Default[settings.Generate]()
	o.Model, o.Adapter, o.Prompt, o.Autotune = c.Model, c.InitAdapter, "Hello", "off"
	err = answer.Generate(t.Context(), o,
		func(string) error { return errors.New("nothing can be said") }, func(Event) {})
	require.ErrorIs(t, err, ErrEngineFault)
}
