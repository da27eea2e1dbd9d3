//go:build unix

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/lora"
)

// snapshot is every file of a folder with its content.
func snapshot(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := os.ReadFile(path)
		files[path] = string(content)
		return err
	}))
	return files
}

func TestOutputFoldersAndCheckpoints(t *testing.T) {
	t.Setenv(programVariable, "1")
	model, data, out := demotest.Model(t, 1, nil), demotest.Rows(t, 8), filepath.Join(t.TempDir(), "out")
	train := func(more ...string) []string {
		return append([]string{
			"train", "--model", model, "--data", data, "--output-dir", out, "--max-steps=2", "--save-steps=1", "--lora-r=4", "--autotune=off",
		}, more...)
	}
	status, _, stderr := invoke(t, train()...)
	require.Zero(t, status, stderr)
	before := snapshot(t, out)
	require.Contains(t, before, filepath.Join(out, "checkpoint-2", "manifest.json"))
	nothingLost := func() {
		t.Helper()
		require.Equal(t, before, snapshot(t, out))
	}

	refused(t, "prepare output folder "+out+
		": it holds README.md of another run (use --overwrite to replace that run, --resume to go on with it, or another --output-dir)\n",
		train()...)
	nothingLost()
	// What is to be replaced stays until the new run is sure to start.
	refused(t, "encode data set ", train("--overwrite", "--max-seq-length=5")...)
	refused(t, "attach adapter: lora_r is 500", train("--overwrite", "--lora-r=500")...)
	nothingLost()

	refused(t, "resume "+out+
		"/checkpoint-2: the checkpoint belongs to a run with other settings: learning_rate was 0.0002, is 0.001; seed was 42, is 7 (",
		train("--resume", "--learning-rate=1e-3", "--seed=7")...)
	refused(t, `resume `+out+`/checkpoint-2: the checkpoint belongs to another run: its model is "`,
		train("--resume", "--model", demotest.Model(t, 2, nil))...)
	refused(t, `resume `+out+`/checkpoint-2: the checkpoint belongs to another run: its data is "`,
		train("--resume", "--data", demotest.Rows(t, 9))...)
	refused(t, "read checkpoint "+out+"/checkpoint-7: bad format: there is no manifest.json: it was interrupted",
		train("--resume", out+"/checkpoint-7")...)
	nothingLost()
	elsewhere := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(elsewhere, lora.WeightsFile), []byte("precious"), 0o666))
	refused(t, "prepare output folder "+elsewhere+": it holds adapter_model.safetensors of another run",
		train("--output-dir", elsewhere, "--resume", out+"/checkpoint-1")...)
	require.NoError(t, os.WriteFile(filepath.Join(elsewhere, "README.md"), []byte("# My project\n"), 0o666))
	refused(t, "prepare output folder "+elsewhere+": its README.md is not a run's and would be lost (choose another --output-dir)\n",
		train("--output-dir", elsewhere, "--overwrite")...)
	require.Equal(t, "precious", snapshot(t, elsewhere)[filepath.Join(elsewhere, lora.WeightsFile)])

	// A damaged checkpoint is named; auto goes on from the one before, and without any it refuses to begin over what is
	// there.
	damage := func(checkpoint string) string {
		name := filepath.Join(out, checkpoint, "optimizer.safetensors")
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		content[len(content)/2] ^= 1
		require.NoError(t, os.WriteFile(name, content, 0o666))
		return name
	}
	name := damage("checkpoint-2")
	refused(t, "read checkpoint "+name+": bad format: damaged: SHA-256 ", train("--resume", out+"/checkpoint-2")...)
	status, stdout, stderr := invoke(t, train("--resume")...)
	require.Zero(t, status, stderr)
	require.Contains(t, stderr, "warning: checkpoint-2 is passed over: read checkpoint "+name+": bad format: damaged")
	require.Contains(t, stdout, "Going on from "+out+"/checkpoint-1 after step 1.\n")
	require.Equal(t, before[name], snapshot(t, out)[name], "the same bytes again")
	damage("checkpoint-1")
	damage("checkpoint-2")
	refused(t,
		"resume "+out+
			": it has no valid checkpoint, but holds README.md, adapter_config.json, adapter_model.safetensors, checkpoint-1, checkpoint-2 (use "+
			"--overwrite",
		train("--resume")...)

	status, _, stderr = invoke(t, train("--overwrite", "--max-steps=1")...)
	require.Zero(t, status, stderr)
	require.NoDirExists(t, filepath.Join(out, "checkpoint-2"))
	log, err := os.ReadFile(filepath.Join(out, "trainer_log.jsonl"))
	require.NoError(t, err)
	var step struct{ Step int }
	require.NoError(t, json.Unmarshal(log, &step), "one line, of the new run")
	require.Equal(t, 1, step.Step)

	// What a start leaves that ended before its first step is no run.
	require.NoError(t, os.RemoveAll(out))
	require.NoError(t, os.Mkdir(out, 0o777))
	name = filepath.Join(out, "trainer_log.jsonl")
	require.NoError(t, os.WriteFile(name, []byte(`{"step":0,"answer":"a"}`+"\n"), 0o666))
	status, _, stderr = invoke(t, train("--max-steps=1")...)
	require.Zero(t, status, stderr)
	log, err = os.ReadFile(name)
	require.NoError(t, err)
	require.NotContains(t, string(log), "answer")
	require.NoError(t, os.RemoveAll(out))
	require.NoError(t, os.Mkdir(out, 0o777))
	require.NoError(t, os.WriteFile(name, []byte(`{"step":1}`+"\n"), 0o666))
	refused(t, "prepare output folder "+out+": it holds trainer_log.jsonl of another run", train("--max-steps=1")...)
}
