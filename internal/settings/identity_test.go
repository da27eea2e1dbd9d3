package settings

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestIdentityKnowsTheNumbersAlone(t *testing.T) {
	usual := Identity(valid(), "")
	for name, change := range map[string]func(*Train){
		"paths": func(c *Train) {
			c.Model, c.Data, c.OutputDir, c.InitAdapter, c.ChatTemplate, c.CacheDir = "a", "b", "c", "d", "e", "f"
		},
		"device": func(c *Train) {
			c.Device, c.Autotune, c.VRAMBudget, c.ResumeFromCheckpoint = "1", "off", "6GiB", "auto"
		},
		"reports": func(c *Train) {
			c.Overwrite, c.LoggingSteps, c.SaveSteps, c.SaveTotalLimit, c.EvalSteps = true, 2, 3, 4, 5
		},
		"paging":    func(c *Train) { c.Optim = "paged_adamw_32bit" },
		"recompute": func(c *Train) { c.GradientCheckpointing = CheckpointOff },
	} {
		c := valid()
		change(&c)
		require.Equal(t, usual, Identity(c, ""), name)
		require.Empty(t, Differences(valid(), c), name)
	}
	require.NotEqual(t, usual, Identity(valid(), "{{ messages }}"), "another template")
	for want, change := range map[string]func(*Train){
		"learning_rate was 0.0002, is 0.001":             func(c *Train) { c.LearningRate = 1e-3 },
		"optim was adamw_32bit, is adamw_8bit":           func(c *Train) { c.Optim = "paged_adamw_8bit" },
		"lora_target_modules was [all-linear], is [k v]": func(c *Train) { c.LoraTargetModules = []string{"k", "v"} },
		"activation_dtype was f32, is bf16":              func(c *Train) { c.ActivationDType = ActivationsBF16 },
		"seed was 42, is 18446744073709551615":           func(c *Train) { c.Seed = 1<<64 - 1 },
		"val_size was 0, is 0.1":                         func(c *Train) { c.ValSize = 0.1 },
		"block_size was 64, is 128":                      func(c *Train) { c.BlockSize = 128 },
		"quantization was nf4, is none":                  func(c *Train) { c.Quantize = Unquantized },
		"train_on_inputs was false, is true":             func(c *Train) { c.TrainOnInputs = true },
		"gradient_accumulation_steps was 4, is 8":        func(c *Train) { c.GradientAccumulationSteps = 8 },
	} {
		c := valid()
		change(&c)
		require.NotEqual(t, usual, Identity(c, ""), want)
		require.Equal(t, []string{want}, Differences(valid(), c))
	}
	rounded, otherwise := valid(), valid()
	rounded.ActivationDType, rounded.GradientCheckpointing = ActivationsBF16, CheckpointFull
	otherwise.ActivationDType, otherwise.GradientCheckpointing = ActivationsBF16, CheckpointOff
	require.NotEqual(t, Identity(rounded, ""), Identity(otherwise, ""), "what is computed again begins from rounded activations")
	require.Equal(t, []string{"gradient_checkpointing was full, is off"}, Differences(rounded, otherwise))
}

// saved is a golden checkpoint: the settings in its state.json, and what its manifest says of them.
func saved(t *testing.T, version string) (object json.RawMessage, identity string) {
	t.Helper()
	dir := filepath.Join("..", "..", "trainer", "testdata", version, "checkpoint-3")
	var state struct{ Settings json.RawMessage }
	var manifest struct{ Identity map[string]string }
	for name, into := range map[string]any{"state.json": &state, "manifest.json": &manifest} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, into))
	}
	require.NotEmpty(t, state.Settings)
	return state.Settings, manifest.Identity["settings"]
}

// later is what a version of this program may have that comes after the golden checkpoints.
type later struct {
	Train
	LabelSmoothing float64  `json:"label_smoothing" default:"0" numeric:"" help:"0: what is done today."`
	Betas          []string `json:"betas" default:"a,b" numeric:""`
	Colour         string   `json:"colour" default:"green"`
}

func TestASettingThatCameLaterLeavesOlderCheckpointsTheirIdentity(t *testing.T) {
	object, identity := saved(t, "checkpoint_v2")
	c := Default[later]()
	missing, err := Read(object, &c)
	require.NoError(t, err)
	require.Equal(t, []string{"data_config", "data_split", "data_template", "data_columns", "data_format", "quantization",
		"template_args", "label_smoothing", "betas", "colour"}, missing)
	require.Equal(t, 33, c.LoraR)
	require.Zero(t, c.LabelSmoothing)
	require.Equal(t, []string{"a", "b"}, c.Betas)
	require.Equal(t, identity, Identity(c, ""))
	now := c
	now.Colour = "red"
	require.Empty(t, Differences(c, now), "it changes no number")
	require.Equal(t, identity, Identity(now, ""))
	now.LabelSmoothing = 0.1
	require.Equal(t, []string{"label_smoothing was 0, is 0.1"}, Differences(c, now))
	require.NotEqual(t, identity, Identity(now, ""))

	first, written := saved(t, "checkpoint_v1")
	var v Version1
	require.NoError(t, json.Unmarshal(first, &v))
	old := Default[later]()
	require.NoError(t, v.Lay(&old))
	require.Equal(t, []string{"a", "b"}, old.Betas)
	require.Empty(t, Differences(c, old), "the same command made both")
	require.Equal(t, identity, Identity(old, ""))
	require.Equal(t, written, v.Identity(""))
	require.NotEqual(t, written, v.Identity("{{ messages }}"))
}

func TestEverySettingOfVersion1HasItsKey(t *testing.T) {
	object, _ := saved(t, "checkpoint_v1")
	var v Version1
	require.NoError(t, json.Unmarshal(object, &v))
	require.Len(t, v, len(version1))
	known := map[string]bool{}
	for f := range fields(reflect.ValueOf(valid())) {
		known[key(f)] = true
	}
	for _, s := range version1 {
		require.Contains(t, v, s.name)
		require.True(t, s.key == "" || known[s.key], "%s is %s today", s.name, s.key)
	}
}

func TestReadIsStrict(t *testing.T) {
	for text, want := range map[string]string{
		`{"lora_rank": 8}`:                  `unknown key "lora_rank"`,
		`{"LoraR": 8}`:                      `unknown key "LoraR"`,
		`{"lora_r": "8"}`:                   `lora_r is "8", wanted: a whole number`,
		`{"lora_r": 8.5}`:                   `lora_r is 8.5, wanted: a whole number`,
		`{"lora_r": null}`:                  `lora_r is null, wanted: a whole number`,
		`{"seed": -1}`:                      `seed is -1, wanted: a whole number from 0`,
		`{"packing": 1}`:                    `packing is 1, wanted: true or false`,
		`{"learning_rate": {"a": 1}}`:       `learning_rate is {"a": 1}, wanted: a number`,
		`{"model": ["a"]}`:                  `model is ["a"], wanted: a text`,
		`{"lora_target_modules": "q_proj"}`: `lora_target_modules is "q_proj", wanted: a list of names`,
		`{"lora_r": 8, "lora_r": 8}`:        `the key "lora_r" is there twice`,
		`{"lora_r": 8} {}`:                  "invalid character '{' after top-level value",
		"{\"model\": \"\xff\"}":             "the text is not UTF-8",
		`[]`:                                "[] is no JSON object",
		`null`:                              "null is no JSON object",
		`{"lora_r": 8`:                      "unexpected end of JSON input",
		``:                                  "unexpected end of JSON input",
	} {
		c := valid()
		_, err := Read([]byte(text), &c)
		require.ErrorContains(t, err, want, text)
	}
	c := valid()
	missing, err := Read([]byte(`{"lora_target_modules": ["q_proj"], "seed": 18446744073709551615, "shuffle": false}`), &c)
	require.NoError(t, err)
	require.Equal(t, []string{"q_proj"}, c.LoraTargetModules)
	require.Equal(t, uint64(1<<64-1), c.Seed)
	require.False(t, c.Shuffle)
	require.Equal(t, 16, c.LoraR, "what is missing stays")
	require.Contains(t, missing, "lora_r")
	require.NotContains(t, missing, "seed")
	require.Equal(t, []string{"all-linear"}, valid().LoraTargetModules)
}
