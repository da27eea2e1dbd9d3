package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzSettings attacks the YAML file of settings, on the whole way of `train --config --dry-run`: a mistake is one
// error with the status of one, and what is printed is read as the same again.
func FuzzSettings(f *testing.F) {
	f.Add("model: m\ndata: d\nlora_r: 8\nlearning_rate: 2e-5\nlora_target_modules: [q_proj, v_proj]\noverwrite: true\n")
	f.Add(defaultSettings)
	f.Add("model: &a m\ndata: *a\n<<: {lora_r: 1}\nno_shuffle: true\n---\n")
	f.Add("{model: \"\\u001b[2J\", data: |\n  d\n}")
	f.Add("model: m\ndata: 0x10\nlora_r: 1_000\nseed: -1\nval_size: .5\nsave_steps: null\n")
	f.Fuzz(func(t *testing.T, text string) {
		dir := t.TempDir()
		settings := func(text string) (int, string, string) {
			name := filepath.Join(dir, "run.yaml")
			require.NoError(t, os.WriteFile(name, []byte(text), 0o666))
			return invoke(t, "train", "--dry-run", "--config", name)
		}
		status, stdout, stderr := settings(text)
		if status != 0 {
			require.Equal(t, statusUserError, status, stderr)
			require.True(t, strings.HasPrefix(stderr, "error: "), stderr)
			require.Empty(t, stdout)
			return
		}
		require.Empty(t, stderr)
		status, again, stderr := settings(stdout)
		require.Zero(t, status, stderr)
		require.Equal(t, stdout, again)
	})
}
