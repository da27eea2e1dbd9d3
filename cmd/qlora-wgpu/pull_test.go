package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/hub/hubtest"
)

// onTheHub puts files of a folder on a hub that the environment names.
func onTheHub(t *testing.T, s *hubtest.Server, repo string, files fs.FS) {
	r := &hubtest.Repo{Files: map[string][]byte{"README.md": []byte("#")}, Large: map[string]bool{}}
	require.NoError(t, fs.WalkDir(files, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		r.Files[path], err = fs.ReadFile(files, path)
		r.Large[path] = strings.HasSuffix(path, ".safetensors")
		return err
	}))
	s.Repos["models/"+repo] = r
}

func TestModelsAndAdaptersByTheirNames(t *testing.T) {
	s := hubtest.New(t)
	cache := t.TempDir()
	t.Setenv("HF_ENDPOINT", s.Endpoint)
	t.Setenv("HF_HUB_CACHE", cache)
	t.Setenv("HF_HOME", t.TempDir())
	onTheHub(t, s, "owner/tiny", demo.ModelFiles())
	data := demotest.Rows(t, 6)

	status, byName, stderr := invoke(t, "plan", "--model", "owner/tiny")
	require.Zero(t, status, stderr)
	require.Contains(t, stderr, "Of owner/tiny the headers alone were read, 66.2 kB; its weights are 2.2 MB.\n")
	entries, err := os.ReadDir(cache)
	require.NoError(t, err)
	require.Empty(t, entries)
	for _, args := range [][]string{{"owner/tiny:Q8_0", "--include=*.md"}, {"datasets/owner/tiny:Q8_0"}} {
		status, _, stderr = invoke(t, append([]string{"pull"}, args...)...)
		require.Equal(t, 2, status)
		require.Contains(t, stderr, ":Q8_0 chooses a GGUF model, which goes neither with --include nor with a data set")
	}
	status, _, stderr = invoke(t, "pull", "owner/tiny")
	require.Zero(t, status, stderr)
	require.Contains(t, stderr, "Fetching owner/tiny: ")
	status, stdout, stderr := invoke(t, "pull", "owner/tiny")
	require.Zero(t, status, stderr)
	require.NotContains(t, stderr, "Fetching", "it is there")
	status, whole, stderr := invoke(t, "plan", "--model", "owner/tiny")
	require.Zero(t, status, stderr)
	require.NotContains(t, stderr, "headers")
	require.Equal(t, whole, byName)
	dir := strings.TrimSuffix(stdout, "\n")
	require.Equal(t, filepath.Join(cache, "models--owner--tiny", "snapshots", hubtest.Commit), dir)
	require.NoFileExists(t, filepath.Join(dir, "README.md"))
	status, _, stderr = invoke(t, "pull", "owner/tiny", "--include", "*.md")
	require.Zero(t, status, stderr)
	require.FileExists(t, filepath.Join(dir, "README.md"))

	t.Setenv(programVariable, "1")
	out := filepath.Join(t.TempDir(), "out")
	status, _, stderr = invoke(t, "train", "--model", "owner/tiny", "--data", data, "--output-dir", out, "--max-steps=1", "--batch-size=2",
		"--gradient-accumulation-steps=1", "--autotune=off")
	require.Zero(t, status, stderr)
	card, err := os.ReadFile(filepath.Join(out, "README.md"))
	require.NoError(t, err)
	require.Contains(t, string(card), "base_model: \"owner/tiny\"\n")
	config, err := os.ReadFile(filepath.Join(out, "adapter_config.json"))
	require.NoError(t, err)
	require.Contains(t, string(config), `"base_model_name_or_path": "owner/tiny"`)

	onTheHub(t, s, "owner/adapter", os.DirFS(out))
	named := evaluate(t, "--model", "owner/tiny", "--adapter", "owner/adapter", "--data", data, "--autotune=off")
	require.Equal(t, evaluate(t, "--model", dir, "--adapter", out, "--data", data, "--autotune=off"), named)
	status, stdout, stderr = invoke(t, "pull", "owner/adapter")
	require.Zero(t, status, stderr)
	require.FileExists(t, filepath.Join(strings.TrimSuffix(stdout, "\n"), "adapter_model.safetensors"))

	for name, message := range map[string]string{
		"owner/other": "error: fetch from the hub owner/other: the hub has no such repository, or none that you may read " +
			"(write it as on its page; for a private one give your token by HF_TOKEN; there is no such path on this computer either)\n",
		"owner/tiny@gone": "error: fetch from the hub owner/tiny@gone: owner/tiny has no revision gone (",
		"owner/adapter":   "it is an adapter and no model: give it by --adapter, with its base model by --model",
	} {
		status, _, stderr := invoke(t, "eval", "--model", name, "--data", data)
		require.Equal(t, statusUserError, status)
		require.Contains(t, stderr, message)
	}

	t.Chdir(t.TempDir())
	require.NoError(t, os.CopyFS("owner/tiny", demo.ModelFiles()))
	status, _, stderr = invoke(t, "plan", "--model", "owner/tiny")
	require.Zero(t, status, stderr)
	require.Contains(t, stderr, "owner/tiny is taken from this computer, not from the hub.\n")
}
