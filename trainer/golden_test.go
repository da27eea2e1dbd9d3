//go:build !js

package trainer

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo"
	"qlora-wgpu/lora"
)

// goldenRun has the settings of the run that testdata's checkpoints belong to, as testdata/README.md tells.
func goldenRun(t *testing.T) Config {
	t.Helper()
	rows := bytes.SplitAfter(demo.Train(), []byte("\n"))
	data := filepath.Join(t.TempDir(), "train.jsonl")
	require.NoError(t, os.WriteFile(data, bytes.Join(rows[:24], nil), 0o666))
	model := filepath.Join(t.TempDir(), "model")
	require.NoError(t, os.CopyFS(model, demo.ModelFiles()))
	c := Defaults()
	c.Model, c.Data, c.OutputDir, c.Autotune = model, data, filepath.Join(t.TempDir(), "run"), "off"
	c.MaxSteps, c.Packing, c.MaxSeqLength, c.BatchSize, c.GradientAccumulationSteps, c.ValSize = 6, true, 96, 2, 2, 4
	c.LoraR, c.LoraAlpha, c.LoraTargetModules, c.LoraDropout, c.UseRSLora = 33, 6, []string{"o_proj"}, 0.1, true
	c.Optim, c.WeightDecay, c.GradientCheckpointing, c.Seed = "paged_adamw_8bit", 0.1, CheckpointSelective, 7
	c.SaveSteps, c.SaveTotalLimit = 3, 0
	return c
}

// A checkpoint of each format that there has been goes on to the bytes of a run that was not interrupted.
func TestCheckpointsOfEveryVersionGoOn(t *testing.T) {
	whole := goldenRun(t)
	train(t, whole)
	for _, version := range []string{"checkpoint_v1", "checkpoint_v2"} {
		t.Run(version, func(t *testing.T) {
			c := goldenRun(t)
			saved := filepath.Join(c.OutputDir, "checkpoint-3")
			require.NoError(t, os.CopyFS(saved, os.DirFS(filepath.Join("testdata", version, "checkpoint-3"))))
			var state, now struct{ Device string }
			for dir, into := range map[string]any{saved: &state, filepath.Join(whole.OutputDir, "checkpoint-3"): &now} {
				text, err := os.ReadFile(filepath.Join(dir, "state.json"))
				require.NoError(t, err)
				require.NoError(t, json.Unmarshal(text, into))
			}
			c.ResumeFromCheckpoint = "auto"
			r := train(t, c)
			require.Contains(t, r.said, "Going on from "+saved+" after step 3.")
			require.Len(t, r.steps, 3)
			for _, name := range []string{lora.WeightsFile, "checkpoint-6/" + lora.WeightsFile, "checkpoint-6/" + optimizerFile} {
				want, err := os.ReadFile(filepath.Join(whole.OutputDir, name))
				require.NoError(t, err)
				got, err := os.ReadFile(filepath.Join(c.OutputDir, name))
				require.NoError(t, err)
				if state.Device == now.Device {
					require.True(t, bytes.Equal(want, got), name)
				} else if filepath.Base(name) == lora.WeightsFile {
					near(t, want, got, name)
				}
			}
		})
	}
}

// near compares adapters of which one took its first three steps on another device. Devices sum in other orders, so
// that gradients differ in their last bits; AdamW divides a gradient by its own size, so that one near zero may move
// its parameter the other way. Three steps at a rate of at most 2e-4 part the two by at most twice that each; a
// checkpoint that is read wrongly parts nearly all of them.
func near(t *testing.T, want, got []byte, name string) {
	t.Helper()
	a, err := lora.ReadWeights(bytes.NewReader(want), int64(len(want)), name)
	require.NoError(t, err)
	b, err := lora.ReadWeights(bytes.NewReader(got), int64(len(got)), name)
	require.NoError(t, err)
	require.Len(t, b, len(a))
	var sum, all float64
	for i := range a {
		for j, v := range a[i].Values {
			d := math.Abs(float64(v - b[i].Values[j]))
			require.Less(t, d, 6*2*2e-4, a[i].Name)
			sum, all = sum+d*d, all+float64(v)*float64(v)
		}
	}
	require.Less(t, sum, 1e-4*all)
}
