//go:build !js

package trainer

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

// golden is the state.json of testdata's checkpoint of a version.
func golden(t *testing.T, version string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", version, "checkpoint-3", "state.json"))
	require.NoError(t, err)
	return string(text)
}

// saved is a checkpoint whose state.json is this text.
func saved(t *testing.T, state string) *checkpoint.Checkpoint {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, checkpoint.Save(checkpoint.Files{}, dir, 3, checkpoint.Identity{}, json.RawMessage(state), nil))
	c, err := checkpoint.Open(checkpoint.Files{}, filepath.Join(dir, "checkpoint-3"))
	require.NoError(t, err)
	return c
}

func TestStatesOfBothVersionsAreTheSame(t *testing.T) {
	first, err := readState(saved(t, golden(t, "checkpoint_v1")))
	require.NoError(t, err)
	second, err := readState(saved(t, golden(t, "checkpoint_v2")))
	require.NoError(t, err)
	require.Equal(t, 1, first.Version)
	require.Equal(t, 2, second.Version)
	require.Equal(t, 33, first.Settings.LoraR)
	require.Equal(t, uint64(5), first.MicroBatches)
	require.NotNil(t, first.first)
	first.Version, first.first, first.Seconds = 2, nil, second.Seconds
	require.Equal(t, second, first)
}

func TestASettingThatAStateLacksIsTheDefault(t *testing.T) {
	for version, key := range map[string]string{"checkpoint_v1": `"MaxGradNorm":1,`, "checkpoint_v2": `"max_grad_norm":1,`} {
		text := golden(t, version)
		require.Contains(t, text, key)
		s, err := readState(saved(t, strings.Replace(text, key, "", 1)))
		require.NoError(t, err)
		require.Equal(t, 1.0, s.Settings.MaxGradNorm)
	}
}

func TestStatesThatNobodyCanGoOnWith(t *testing.T) {
	for _, test := range []struct{ version, from, to, message string }{
		{
			"checkpoint_v2", `"lora_r":33`, `"lora_r":33,"lora_flavour":"x"`,
			`unsupported: settings: unknown key "lora_flavour": a newer version of qlora-wgpu wrote it (update qlora-wgpu)`,
		},
		{
			"checkpoint_v2", `"skipped":0`, `"skipped":0,"mood":1`,
			`unsupported: unknown key "mood": a newer version of qlora-wgpu wrote it (update qlora-wgpu)`,
		},
		{
			"checkpoint_v2", `"version":2`, `"version":3,"step":"four"`,
			`unsupported: unknown format 3, this version reads up to 2: a newer version of qlora-wgpu wrote it (update qlora-wgpu)`,
		},
		{"checkpoint_v2", `"version":2`, `"version":0`, `bad format: version is 0, wanted: 1 to 2`},
		{"checkpoint_v2", `"version":2`, `"version":"two"`, `bad format: version is "two", wanted: a whole number`},
		{"checkpoint_v2", `"lora_r":33`, `"lora_r":"33"`, `bad format: settings: lora_r is "33", wanted: a whole number`},
		{"checkpoint_v2", `"lora_r":33`, `"lora_r":null`, `bad format: settings: lora_r is null, wanted: a whole number`},
		{"checkpoint_v2", `"tokens":663`, `"tokens":-1`, `bad format: seconds 0.76785084, tokens -1, skipped 0`},
		{"checkpoint_v2", `"seconds":0.76785084`, `"seconds":-1e308`, `bad format: seconds -1e+308, tokens 663`},
		{"checkpoint_v2", `"step":3`, `"step":4`, `bad format: step is 4, the checkpoint is of step 3`},
		{"checkpoint_v2", `"step":3`, `"step":"3"`, `bad format: step is "3", wanted: a whole number`},
		{"checkpoint_v2", `"micro_batches":5,`, ``, `bad format: there is no key "micro_batches"`},
		{"checkpoint_v2", `"cursor":{"epoch":0,"batch":5},`, ``, `bad format: there is no key "cursor"`},
		{
			"checkpoint_v2", `"batch":5`, `"batch":5,"seed":1`,
			`unsupported: cursor: unknown key "seed": a newer version of qlora-wgpu wrote it`,
		},
		{"checkpoint_v2", `"batch":5`, `"batch":2,"batch":5`, `bad format: cursor: the key "batch" is there twice`},
		{"checkpoint_v2", `"batch":5`, `"batch":null`, `bad format: cursor: batch is null, wanted: a whole number`},
		{"checkpoint_v2", `,"batch":5`, ``, `bad format: cursor: there is no key "batch"`},
		{"checkpoint_v2", `"step":3`, `"step":2,"step":3`, `bad format: the key "step" is there twice`},
		{"checkpoint_v2", `"lora_r":33`, `"lora_r":3,"lora_r":33`, `bad format: settings: the key "lora_r" is there twice`},
		{"checkpoint_v1", `"LoraR":33`, `"LoraR":3,"LoraR":33`, `bad format: settings: the key "LoraR" is there twice`},
		{"checkpoint_v2", `drivers`, "driver\xff", `bad format: the text is not UTF-8`},
		{"checkpoint_v2", `"variants":{}`, `"variants":null`, `bad format: variants is null, wanted: another value than null`},
		{
			"checkpoint_v2", `"gradient_checkpointing":"selective"`, `"gradient_checkpointing":"some"`,
			`bad format: settings: gradient_checkpointing is "some", allowed: `,
		},
		{"checkpoint_v2", `"settings":{`, `"settings":1,"settings_of":{`, `unsupported: unknown key "settings_of"`},
		{"checkpoint_v2", `"version":2,`, ``, `bad format: settings of version 1: unknown key "`},
		{"checkpoint_v1", `"LoraR":33`, `"LoraR":"x"`, `bad format: settings of version 1: lora_r is "x", wanted: a whole number`},
		{"checkpoint_v1", `"LoraR":33`, `"LoraR":33,"LoraFlavour":1`, `bad format: settings of version 1: unknown key "LoraFlavour"`},
		{"checkpoint_v1", `"tokens":663,`, ``, `bad format: there is no key "tokens"`},
	} {
		text := golden(t, test.version)
		require.Contains(t, text, test.from)
		c := saved(t, strings.Replace(text, test.from, test.to, 1))
		_, err := readState(c)
		var mistake *usererr.Error
		require.ErrorAs(t, err, &mistake, test.message)
		require.Contains(t, err.Error(), "resume "+c.Path+"/state.json: "+test.message)
		_, err = OpenSaved(Folder{}, c.Path)
		require.ErrorContains(t, err, test.message, "the page asks in this way")
	}
	_, err := parseState(bytes.Repeat([]byte("["), 9))
	require.Error(t, err)
}

// A template of the run's own is part of its identity, in both versions' words.
func TestACheckpointBelongsToItsTemplate(t *testing.T) {
	for _, version := range []string{"checkpoint_v1", "checkpoint_v2"} {
		var manifest struct{ Identity checkpoint.Identity }
		text, err := os.ReadFile(filepath.Join("testdata", version, "checkpoint-3", "manifest.json"))
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(text, &manifest))
		s, err := readState(saved(t, golden(t, version)))
		require.NoError(t, err)
		require.Equal(t, manifest.Identity["settings"], settingsIdentity(s.Settings, "", s))
		require.NotEqual(t, manifest.Identity["settings"], settingsIdentity(s.Settings, "{{ messages }}", s))
	}
}

// The date that a chat template writes is the run's: one that goes on on another day makes the same samples.
func TestDateIsTheRuns(t *testing.T) {
	local := time.Local
	t.Cleanup(func() { time.Local = local })
	template := filepath.Join(t.TempDir(), "date.jinja")
	require.NoError(t, os.WriteFile(template, []byte(`{{ '<|system|>' + strftime_now('%d %b %Y') + '<|end|>' }}`+
		`{% for m in messages %}{{ '<|' + m.role + '|>' + m.content + '<|end|>' }}{% endfor %}`+
		`{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}`), 0o666))
	model, data := demotest.Model(t, 1, nil), demotest.Rows(t, 6)
	settings := func() Config {
		c := small(t, model, data)
		c.ChatTemplate, c.SaveSteps = template, 2
		return c
	}
	whole, c := settings(), settings()
	time.Local = time.FixedZone("yesterday", -12*3600)
	want := train(t, whole)
	require.NoError(t, os.CopyFS(c.OutputDir, os.DirFS(whole.OutputDir)))
	require.NoError(t, os.RemoveAll(filepath.Join(c.OutputDir, "checkpoint-4")))
	require.NoError(t, os.Remove(filepath.Join(c.OutputDir, lora.WeightsFile)))
	time.Local = time.FixedZone("today", 14*3600) // another day at every moment
	c.ResumeFromCheckpoint = "auto"
	got := train(t, c)
	require.Len(t, got.steps, 2)
	require.True(t, bytes.Equal(want.adapter, got.adapter))

	other := settings()
	require.NotEqual(t, want.steps[0].Loss, train(t, other).steps[0].Loss, "the date is learned")
}
