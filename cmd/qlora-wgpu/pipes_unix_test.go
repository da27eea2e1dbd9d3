//go:build unix

package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo/demotest"
)

// A pipe in the place of any file is refused, instead of waiting for its other end; /dev/zero instead of filling the
// memory.
func TestPipesAndDevicesAreRefused(t *testing.T) {
	model, rows := demotest.Model(t, 1, nil), demotest.Rows(t, 4)
	adapter := filepath.Join(t.TempDir(), "adapter")
	require.NoError(t, os.Mkdir(adapter, 0o777))
	pipe := filepath.Join(t.TempDir(), "pipe")
	require.NoError(t, syscall.Mkfifo(pipe, 0o666))
	eval := func(more ...string) []string {
		return append([]string{"eval", "--model", model, "--data", rows}, more...)
	}
	for _, odd := range []string{pipe, "/dev/zero"} {
		for name, args := range map[string][]string{
			"settings":  {"train", "--dry-run", "--config", odd},
			"model":     {"tokenize", "--model", odd},
			"texts":     {"tokenize", "--model", model, odd},
			"data":      {"eval", "--model", model, "--data", odd},
			"template":  eval("--chat-template", odd),
			"adapter":   eval("--adapter", adapter),
			"config":    {"tokenize", "--model", replaced(t, model, "config.json", odd)},
			"tokenizer": {"tokenize", "--model", replaced(t, model, "tokenizer.json", odd)},
			"weights":   eval("--model", replaced(t, model, "model.safetensors", odd)),
		} {
			if name == "adapter" {
				link := filepath.Join(adapter, "adapter_config.json")
				_ = os.Remove(link)
				require.NoError(t, os.Symlink(odd, link))
			}
			start := time.Now()
			status, _, said := invoke(t, args...)
			require.Equal(t, statusUserError, status, "%s: %s", name, said)
			require.Contains(t, said, "not a regular file", name)
			require.Less(t, time.Since(start), 10*time.Second)
		}
	}
}

// replaced is a model folder in which a file is a link to something else.
func replaced(t *testing.T, model, name, by string) string {
	dir := t.TempDir()
	require.NoError(t, os.CopyFS(dir, os.DirFS(model)))
	require.NoError(t, os.Remove(filepath.Join(dir, name)))
	require.NoError(t, os.Symlink(by, filepath.Join(dir, name)))
	return dir
}
