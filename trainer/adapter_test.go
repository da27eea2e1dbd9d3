//go:build !js

package trainer

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/lora"
)

// The second half of a run at a constant rate, begun from the first half's adapter: its first loss is the one of the
// whole run there.
func TestInitAdapterContinues(t *testing.T) {
	model, data := demotest.Model(t, 1, nil), demotest.Rows(t, 4)
	c := small(t, model, data)
	c.LRSchedulerType, c.Shuffle, c.MaxSteps = Constant, false, 4
	c.LoraR, c.LoraTargetModules, c.UseRSLora = 5, []string{"v_proj", "down_proj"}, true
	whole := train(t, c)
	first := c
	first.OutputDir, first.MaxSteps = filepath.Join(t.TempDir(), "out"), 2
	train(t, first)
	second := small(t, model, data)
	second.LRSchedulerType, second.Shuffle, second.MaxSteps = Constant, false, 1
	second.InitAdapter, second.LoraR = first.OutputDir, 16
	r := train(t, second)
	require.Equal(t, whole.steps[2].Loss, r.steps[0].Loss)
	require.Contains(t, r.said, "Adapter: LoRA r=5 alpha=8 scaling=3.578 dropout=0 on down_proj, v_proj\n",
		"shape and scale are the adapter's")
	second.OutputDir, second.Model = filepath.Join(t.TempDir(), "out"), demotest.Model(t, 1, nil)
	require.Contains(t, train(t, second).said, " on down_proj, v_proj, made for "+model+"\n")
}

// What a loaded adapter's configuration says of its linears stays as it was when it trains on, over a resumed run too.
func TestInitAdapterKeepsPatterns(t *testing.T) {
	model, data := demotest.Model(t, 1, nil), demotest.Rows(t, 4)
	first := small(t, model, data)
	first.MaxSteps, first.LoraR, first.LoraTargetModules, first.LRSchedulerType = 2, 4, []string{"v_proj", "down_proj"}, Constant
	train(t, first)
	second := small(t, model, data)
	second.InitAdapter, second.MaxSteps, second.SaveSteps, second.LRSchedulerType = first.OutputDir, 2, 1, Constant
	plain := train(t, second)
	name := filepath.Join(first.OutputDir, lora.ConfigFile)
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	change := strings.NewReplacer(`"alpha_pattern": {}`, `"alpha_pattern": {"v_proj": 1, ".*_proj": 2}`,
		`"target_modules": [
    "v_proj",
    "down_proj"
  ]`, `"target_modules": ".*\\.(v_proj|down_proj)"`)
	require.NoError(t, os.WriteFile(name, []byte(change.Replace(string(text))), 0o666))

	second.OutputDir = filepath.Join(t.TempDir(), "out")
	whole := train(t, second)
	require.NotEqual(t, plain.steps[0].Loss, whole.steps[0].Loss)
	written, err := os.ReadFile(filepath.Join(second.OutputDir, lora.ConfigFile))
	require.NoError(t, err)
	require.Contains(t, string(written), `"alpha_pattern": {
    "v_proj": 1,
    ".*_proj": 2
  }`)
	require.Contains(t, string(written), `"target_modules": [
    "down_proj",
    "v_proj"
  ]`)
	resumed := second
	resumed.OutputDir = filepath.Join(t.TempDir(), "out")
	resumed.ResumeFromCheckpoint = filepath.Join(second.OutputDir, "checkpoint-1")
	require.True(t, bytes.Equal(whole.adapter, train(t, resumed).adapter))
}

func TestAdapterFilesArePEFTs(t *testing.T) {
	model, data := demotest.Model(t, 1, nil), demotest.Rows(t, 4)
	c := small(t, model, data)
	c.LoraR, c.LoraDropout, c.LoraTargetModules, c.UseRSLora = 5, 0.05, []string{"q_proj", "k_proj", "down_proj"}, true
	train(t, c)
	text, err := os.ReadFile(filepath.Join(c.OutputDir, lora.ConfigFile))
	require.NoError(t, err)
	require.JSONEq(t, `{"peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": "`+model+
		`", "revision": null, "inference_mode": true,
		"r": 5, "lora_alpha": 8, "lora_dropout": 0.05, "use_rslora": true, "use_dora": false, "bias": "none", "fan_in_fan_out": false,
		"target_modules": ["q_proj", "k_proj", "down_proj"], "init_lora_weights": true, "modules_to_save": null,
		"layers_to_transform": null, "layers_pattern": null, "rank_pattern": {}, "alpha_pattern": {}}`, string(text))
	adapter, err := lora.Open(checkpoint.Files{}, c.OutputDir)
	require.NoError(t, err)
	shapes := map[string][2]int{}
	for _, x := range adapter.Tensors {
		shapes[strings.TrimPrefix(x.Name, "base_model.model.model.layers.0.")] = [2]int{x.Rows, x.Cols}
		require.NotZero(t, x.Values[0], "%s is trained", x.Name)
	}
	require.Equal(t, map[string][2]int{
		"self_attn.q_proj.lora_A.weight": {5, 128}, "self_attn.q_proj.lora_B.weight": {128, 5},
		"self_attn.k_proj.lora_A.weight": {5, 128}, "self_attn.k_proj.lora_B.weight": {64, 5},
		"mlp.down_proj.lora_A.weight": {5, 384}, "mlp.down_proj.lora_B.weight": {128, 5},
	}, shapes)
	card, err := os.ReadFile(filepath.Join(c.OutputDir, "README.md"))
	require.NoError(t, err)
	require.Regexp(t,
		`(?s)^---\nlibrary_name: peft\nbase_model: "model"\n.*\| data \| train\.jsonl \(messages, 4 samples\) \|\n\| steps \| 4 \|`, string(card))
}

// rsLoRA with alpha 8 scales by 8/√4, as plain LoRA with alpha 16 does by 16/4.
func TestRSLoRAIsAScale(t *testing.T) {
	model, data := demotest.Model(t, 1, nil), demotest.Rows(t, 4)
	a, b, other := small(t, model, data), small(t, model, data), small(t, model, data)
	a.UseRSLora = true
	b.LoraAlpha = 16
	rs, plain := train(t, a), train(t, b)
	require.True(t, bytes.Equal(rs.adapter, plain.adapter))
	require.NotEqual(t, rs.adapter, train(t, other).adapter)
}
