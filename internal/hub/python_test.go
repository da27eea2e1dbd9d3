//go:build !js

package hub

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/hub/hubtest"
)

// python runs lines with Hugging Face's own client, QLORA_HUB_PYTHON's, on a cache.
func python(t *testing.T, s *hubtest.Server, cache, lines string) string {
	t.Helper()
	command := exec.Command(os.Getenv("QLORA_HUB_PYTHON"), "-c", "from huggingface_hub import *\n"+lines)
	command.Env = append(os.Environ(), "HF_ENDPOINT="+s.Endpoint, "HF_HUB_CACHE="+cache, "HF_HOME="+t.TempDir(), "HF_HUB_DISABLE_XET=1",
		"HF_HUB_DISABLE_PROGRESS_BARS=1", "HF_HUB_DISABLE_TELEMETRY=1")
	out, err := command.Output()
	if failed, ok := err.(*exec.ExitError); ok {
		require.NoError(t, err, string(failed.Stderr))
	}
	require.NoError(t, err)
	return string(out)
}

// The server of these tests is one to Hugging Face's client, and of what either side has fetched the other fetches
// nothing again.
func TestHuggingFacesClient(t *testing.T) {
	if os.Getenv("QLORA_HUB_PYTHON") == "" {
		t.Skip("QLORA_HUB_PYTHON names no Python with huggingface_hub (make test-hub)")
	}
	const big = "model-00001-of-00002.safetensors"
	t.Run("its cache is found", func(t *testing.T) {
		s, repo := served(t)
		cache := t.TempDir()
		dir := python(t, s, cache, "print(snapshot_download('"+id+"'), end='')")
		before := s.Served(big)
		require.EqualValues(t, len(repo.Files[big]), before)
		ours, err := client(s, cache).Model(t.Context(), Name{Type: Models, Repo: id, Revision: "main"}, vision)
		require.NoError(t, err)
		require.Equal(t, dir, ours)
		require.Equal(t, before, s.Served(big))
		offline := client(s, cache)
		offline.Offline = true
		ours, err = offline.Model(t.Context(), Name{Type: Models, Repo: id, Revision: "main"}, vision)
		require.NoError(t, err)
		require.Equal(t, dir, ours)
	})
	t.Run("it finds ours", func(t *testing.T) {
		s, repo := served(t)
		cache := t.TempDir()
		for _, revision := range []string{"main", "refs/pr/1"} {
			dir, err := client(s, cache).Model(t.Context(), Name{Type: Models, Repo: id, Revision: revision}, vision)
			require.NoError(t, err)
			local := python(t, s, cache, "print(snapshot_download('"+id+"', revision='"+revision+"', local_files_only=True), end='')")
			require.Equal(t, dir, local)
			file := python(t, s, cache, "print(hf_hub_download('"+id+"', '"+big+"', revision='"+revision+"', local_files_only=True), end='')")
			require.Equal(t, filepath.Join(dir, big), file)
		}
		before := s.Served(big)
		dir := python(t, s, cache, "print(snapshot_download('"+id+"'), end='')")
		require.Equal(t, before, s.Served(big), "it takes the file that is there")
		var names []string
		for name := range repo.Files {
			names = append(names, name)
		}
		equal(t, dir, repo, names...)
		scanned := python(t, s, cache, "i = scan_cache_dir(); print([len(r.revisions) for r in i.repos], i.warnings)")
		require.Equal(t, "[1] []\n", scanned)
	})
	t.Run("data sets lie in one cache", func(t *testing.T) {
		s, _ := served(t)
		s.Repos["datasets/owner/set"] = &hubtest.Repo{
			Files: map[string][]byte{
				"README.md": []byte("# Set\n"), "data/train.parquet": make([]byte, 90_000), "data/test.parquet": make([]byte, 9),
			},
			Large: map[string]bool{"data/train.parquet": true},
		}
		name := Name{Type: Datasets, Repo: "owner/set", Revision: "main"}
		choose := func(names []string, readme []byte) ([]string, error) {
			require.Equal(t, "# Set\n", string(readme))
			require.Contains(t, names, "data/test.parquet")
			return []string{"data/train.parquet"}, nil
		}
		cache := t.TempDir()
		dir, err := client(s, cache).Dataset(t.Context(), name, choose)
		require.NoError(t, err)
		local := python(t, s, cache, "print(hf_hub_download("+
			"'owner/set', 'data/train.parquet', repo_type='dataset', local_files_only=True), end='')")
		require.Equal(t, filepath.Join(dir, "data", "train.parquet"), local)
		require.Zero(t, s.Served("data/test.parquet"))

		cache = t.TempDir()
		before := s.Served("data/train.parquet")
		theirs := python(t, s, cache, "print(snapshot_download('owner/set', repo_type='dataset'), end='')")
		dir, err = client(s, cache).Dataset(t.Context(), name, choose)
		require.NoError(t, err)
		require.Equal(t, theirs, dir)
		require.EqualValues(t, before+90_000, s.Served("data/train.parquet"), "it is not fetched again")
	})
	t.Run("refusals are the hub's", func(t *testing.T) {
		s, repo := served(t)
		s.Repos["models/owner/gated"] = &hubtest.Repo{Files: repo.Files, Gated: true}
		said := python(t, s, t.TempDir(), `
for name, revision in [('owner/gated', 'main'), ('`+id+`', 'nowhere'), ('owner/nothing', 'main')]:
  try: hf_hub_download(name, 'config.json', revision=revision)
  except Exception as e: print(type(e).__name__)
`)
		require.Equal(t, "GatedRepoError\nRevisionNotFoundError\nRepositoryNotFoundError\n", said)
	})
}
