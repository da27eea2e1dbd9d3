//go:build !js

package hub

import (
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/hub/hubtest"
	"qlora-wgpu/internal/usererr"
)

// repository is a repository of small files.
func repository(names ...string) *hubtest.Repo {
	r := &hubtest.Repo{Files: map[string][]byte{}, Large: map[string]bool{}}
	for _, name := range names {
		r.Files[name], r.Large[name] = []byte(name), filepath.Ext(name) == ".gguf"
	}
	return r
}

func TestGGUFByItsType(t *testing.T) {
	s := hubtest.New(t)
	eight := []string{"m-Q8_0-00001-of-00002.gguf", "m-Q8_0-00002-of-00002.gguf"}
	s.Repos["models/owner/many"] = repository("README.md", "m-Q4_K_M.gguf", "m-Q4_K_S.gguf", eight[0], eight[1],
		"BF16/m-BF16.gguf", "mmproj-m-f16.gguf", "m.IQ4_XS.gguf", "m.imatrix.gguf")
	s.Repos["models/owner/one"] = repository("m.gguf", "mmproj-m-f16.gguf")
	for name, want := range map[string][]string{
		"owner/many:Q4_K_M": {"m-Q4_K_M.gguf"}, "owner/many:q4_k_s": {"m-Q4_K_S.gguf"}, "owner/many:IQ4_XS": {"m.IQ4_XS.gguf"},
		"owner/many:Q8_0": eight, "owner/many:bf16": {"BF16/m-BF16.gguf"}, "owner/one": {"m.gguf"},
		"hf.co/owner/many/blob/main/m-Q8_0-00002-of-00002.gguf": eight,
	} {
		n, _, err := Parse(name, Models)
		require.NoError(t, err)
		h := client(s, t.TempDir())
		path, err := h.Model(t.Context(), n, read)
		require.NoError(t, err, name)
		require.Equal(t, filepath.Join(h.snapshot(n, hubtest.Commit), want[0]), path)
		equal(t, h.snapshot(n, hubtest.Commit), s.Repos["models/"+n.Repo], want...)
	}
	for name, message := range map[string]string{
		"owner/many": "there are several GGUF models (say which by its type or its name, as in owner/many:Q4_K_M or " +
			"owner/many:BF16/m-BF16.gguf: BF16/m-BF16.gguf, m-Q4_K_M.gguf, ",
		"owner/many:Q4":   "there is no GGUF of this type (there are BF16/m-BF16.gguf, ",
		"owner/one:Q4_K":  "there is no GGUF of this type (there are m.gguf)",
		"owner/many:Q8_1": "there is no GGUF of this type",
	} {
		n, _, err := Parse(name, Models)
		require.NoError(t, err)
		_, err = client(s, t.TempDir()).Model(t.Context(), n, read)
		require.ErrorContains(t, err, message)
	}
}

func TestRepositoriesWithoutAUse(t *testing.T) {
	s := hubtest.New(t)
	whole := []string{"config.json", "model.safetensors"}
	for repo, c := range map[string]struct {
		files   []string
		adapter bool
		message string
	}{
		"a": {[]string{"config.json", "pytorch_model.bin"}, false, "its weights are a pickle (pytorch_model.bin), which runs"},
		"b": {[]string{"consolidated.00.pth", "params.json"}, false, "its weights are a pickle (consolidated.00.pth)"},
		"c": {[]string{"README.md"}, false, "it holds no weights in safetensors or GGUF (there are README.md)"},
		"d": {[]string{"adapter_config.json", "adapter_model.safetensors"}, false, "it is an adapter and no model: give it by --adapter"},
		"e": {[]string{"config.json", "model-00001-of-00002.safetensors"}, false, "shards, and there is no model.safetensors.index.json"},
		"f": {[]string{"config.json", "other.safetensors"}, false, "its weights have other names than model.safetensors"},
		"g": {whole, true, "it is a model and no adapter"},
		"h": {[]string{"adapter_config.json", "adapter_model.bin"}, true, "its adapter is a pickle (adapter_model.bin)"},
		"i": {nil, false, "it holds no weights in safetensors or GGUF (there are no files)"},
		"j": {[]string{"config.json", "tf_model.h5", "x1", "x2", "x3", "x4", "x5", "x6", "x7", "x8"}, false, " and 2 more)"},
	} {
		s.Repos["models/owner/"+repo] = repository(c.files...)
		h, n := client(s, t.TempDir()), Name{Type: Models, Repo: "owner/" + repo, Revision: "main"}
		var err error
		if c.adapter {
			_, err = h.Adapter(t.Context(), n)
		} else {
			_, err = h.Model(t.Context(), n, read)
		}
		require.ErrorContains(t, err, c.message)
		require.True(t, usererr.Is(err, usererr.Unsupported), err)
	}
	s.Repos["models/owner/l"] = repository("config.json", "adapter_config.json", "adapter_model.safetensors", "README.md")
	h, n := client(s, t.TempDir()), Name{Type: Models, Repo: "owner/l", Revision: "main"}
	dir, err := h.Adapter(t.Context(), n)
	require.NoError(t, err)
	equal(t, dir, s.Repos["models/owner/l"], "adapter_config.json", "adapter_model.safetensors")
}

// Of an adapter in whatever format its own files alone are fetched.
func TestAdaptersOfEveryFormat(t *testing.T) {
	s := hubtest.New(t)
	for repo, c := range map[string]struct {
		files []string
		ask   string
		path  string   // behind the snapshot
		want  []string // what is fetched
	}{
		"mlx": {[]string{"README.md", "adapter_config.json", "adapters.safetensors", "0000100_adapters.safetensors"}, "", "",
			[]string{"adapter_config.json", "adapters.safetensors"}},
		"both": {[]string{"adapter_config.json", "adapter_model.safetensors", "adapters.safetensors"}, "", "",
			[]string{"adapter_config.json", "adapter_model.safetensors"}},
		"gguf": {[]string{"README.md", "lora-f16.gguf"}, "", "lora-f16.gguf", []string{"lora-f16.gguf"}},
		"two":  {[]string{"lora-f16.gguf", "lora-f32.gguf"}, ":F32", "lora-f32.gguf", []string{"lora-f32.gguf"}},
		"asked": {[]string{"adapter_config.json", "adapter_model.safetensors", "lora.gguf"}, ":lora.gguf", "lora.gguf",
			[]string{"lora.gguf"}},
	} {
		s.Repos["models/owner/"+repo] = repository(c.files...)
		n, _, err := Parse("owner/"+repo+c.ask, Models)
		require.NoError(t, err)
		path, err := client(s, t.TempDir()).Adapter(t.Context(), n)
		require.NoError(t, err, repo)
		dir := path
		if c.path != "" {
			require.Equal(t, c.path, filepath.Base(path))
			dir = filepath.Dir(path)
		}
		equal(t, dir, s.Repos["models/owner/"+repo], c.want...)
	}
	n, _, err := Parse("owner/two", Models)
	require.NoError(t, err)
	_, err = client(s, t.TempDir()).Adapter(t.Context(), n)
	require.ErrorContains(t, err, "there are several GGUF models (say which by its type or its name")
}

func TestRefusals(t *testing.T) {
	s, repo := served(t)
	s.Repos["models/owner/gated"] = &hubtest.Repo{Files: repo.Files, Gated: true}
	s.Repos["models/owner/private"] = &hubtest.Repo{Files: repo.Files, Private: true}
	cache := t.TempDir()
	h := client(s, cache)
	_, err := h.Model(t.Context(), Name{Type: Models, Repo: id, Revision: "main"}, vision)
	require.NoError(t, err)
	for name, message := range map[string]string{
		"owner/gated": "it is gated: the hub gives it only to those who have accepted its terms (accept them at " + s.Endpoint +
			"/owner/gated, and give your token by HF_TOKEN)",
		"owner/private": "the hub has no such repository, or none that you may read (write it as on its page; " +
			"for a private one give your token by HF_TOKEN)",
		"owner/tiny-mode1": "none that you may read (write it as on its page; the cache holds owner/tiny-model; ",
		id + "@nowhere":    id + " has no revision nowhere (" + s.Endpoint + "/" + id + "/tree/main shows what there is)",
	} {
		n, _, err := Parse(name, Models)
		require.NoError(t, err)
		_, err = h.Model(t.Context(), n, vision)
		require.ErrorContains(t, err, message)
	}
	known := client(s, t.TempDir())
	known.Token = hubtest.Token
	for _, name := range []string{"owner/gated", "owner/private"} {
		_, err := known.Model(t.Context(), Name{Type: Models, Repo: name, Revision: "main"}, vision)
		require.NoError(t, err)
	}
}

// What came before stands in where there is no network, or none is wanted; what did not come is said to be absent.
func TestWithoutTheNetwork(t *testing.T) {
	s, repo := served(t)
	cache, n := t.TempDir(), Name{Type: Models, Repo: id, Revision: "main"}
	dir, err := client(s, cache).Model(t.Context(), n, vision)
	require.NoError(t, err)
	asked, _ := s.Asked()
	offline := client(s, cache)
	offline.Offline = true
	got, err := offline.Model(t.Context(), n, vision)
	require.NoError(t, err)
	require.Equal(t, dir, got)
	again, _ := s.Asked()
	require.Equal(t, asked, again)

	away := client(s, cache)
	away.Endpoint = "http://127.0.0.1:1"
	said := ""
	away.Say = func(line string) { said = line }
	got, err = away.Model(t.Context(), n, vision)
	require.NoError(t, err)
	require.Equal(t, dir, got)
	require.Equal(t, id+": the hub cannot be reached, what came of it before is taken (commit 01234567).", said)
	equal(t, dir, repo, modelFiles...)

	_, err = offline.Model(t.Context(), n, read)
	require.ErrorContains(t, err, "HF_HUB_OFFLINE is set, the hub is not asked; of the part that the cache holds: "+
		"model.safetensors.index.json names model-00002-of-00002.safetensors, which is not there")
	require.ErrorContains(t, err, "; fetch it once without HF_HUB_OFFLINE)")
	require.NoError(t, os.Remove(filepath.Join(dir, "model-00001-of-00002.safetensors")))
	_, err = away.Model(t.Context(), n, vision)
	require.ErrorContains(t, err, "the hub cannot be reached: ")
	require.ErrorContains(t, err, "; of the part that the cache holds: it holds no weights in safetensors or GGUF (there are config.json, ")
	require.ErrorContains(t, err, "; check the connection and HTTPS_PROXY)")
	_, err = offline.Model(t.Context(), Name{Type: Models, Repo: "owner/tinymodel", Revision: "main"}, read)
	require.ErrorContains(t, err, "HF_HUB_OFFLINE is set, the hub is not asked, and the cache holds nothing of it "+
		"(fetch it once without HF_HUB_OFFLINE; the cache holds owner/tiny-model)")
	away.Cache = t.TempDir()
	_, err = away.Model(t.Context(), n, read)
	require.ErrorContains(t, err, "the hub cannot be reached: ")
	require.ErrorContains(t, err, "(check the connection and HTTPS_PROXY)")
}

// A list of files from nowhere good writes nothing outside the cache.
func TestNamesThatLeadOut(t *testing.T) {
	for listed, message := range map[string]string{
		"../../evil.json": "leads out of its folder", "/etc/evil.json": "leads out of its folder", `a\b.json`: "leads out of its folder",
		"C:evil.json": "leads out of its folder", "a/../b.json": "leads out of its folder", "a//b.json": "leads out of its folder",
		"x\x00.json": "leads out of its folder", "CONFIG.json": "config.json and CONFIG.json would be one file on many systems",
	} {
		s := hubtest.New(t)
		repo := repository("config.json", "zz.json")
		repo.Listed = map[string]string{"zz.json": listed}
		s.Repos["models/owner/x"] = repo
		cache := t.TempDir()
		_, err := client(s, cache).Files(t.Context(), Name{Type: Models, Repo: "owner/x", Revision: "main"}, nil)
		require.ErrorContains(t, err, message, listed)
		entries, err := os.ReadDir(cache)
		require.NoError(t, err)
		require.Empty(t, entries)
	}
}

func TestDamagedLists(t *testing.T) {
	s, _ := served(t)
	for _, body := range []string{
		"", "[]", "{", `{"sha": 3}`, `{"sha": "abc"}`,
		`{"sha": "../../../../../../../../../../../../x"}`, `{"sha": "0123456789ABCDEF0123456789ABCDEF01234567"}`,
	} {
		s.Fault = func(w http.ResponseWriter, r *http.Request, storage bool) bool {
			_, _ = w.Write([]byte(body))
			return true
		}
		_, err := client(s, t.TempDir()).List(t.Context(), Name{Type: Models, Repo: id, Revision: "main"})
		require.ErrorContains(t, err, "its list of files is damaged: ", body)
	}
	for _, tree := range []string{
		`{}`, `[{"type": "file", "path": "a", "size": 1, "oid": "../x"}]`,
		`[{"type": "file", "path": "a", "size": -1, "oid": "` + hubtest.Commit + `"}]`,
		`[{"type": "file", "path": "a", "size": 1, "oid": "` + hubtest.Commit + `",` +
			` "lfs": {"oid": "` + hubtest.Commit + `", "size": 1}}]`, `[{"size": "x"}]`,
	} {
		_, err := readTree([]byte(tree))
		require.Error(t, err, tree)
	}
}

// Sizes that nothing has are refused before anything is made for them, one by one and together.
func TestSizesThatNothingHas(t *testing.T) {
	s, repo := served(t)
	n, hash := Name{Type: Models, Repo: id, Revision: "main"}, repo.Hash("model-00001-of-00002.safetensors")
	for _, size := range []int64{1<<63 - 1, 1 << 62, 1<<50 + 1} {
		h := client(s, t.TempDir())
		_, err := h.Fetch(t.Context(), n, Listing{Commit: hubtest.Commit}, []File{{"a", size, hash}, {"b", size, hash}})
		require.ErrorContains(t, err, "a has ")
		entries, err := os.ReadDir(h.Cache)
		require.NoError(t, err)
		require.Empty(t, entries)
	}
	require.ErrorContains(t, check([]File{{"a", 1 << 50, hash}, {"b", 1, hash}}), "b has 1 bytes, all files together have more than ")
}

// A cache in which something stands in the way is named, with a way out; nothing is said to be there that is not.
func TestACacheThatIsInTheWay(t *testing.T) {
	for _, c := range []struct {
		path, message string
		make          func(path string) error
	}{
		{"refs", "refs: not a directory (mend or remove it", func(path string) error { return os.WriteFile(path, nil, 0o666) }},
		{"snapshots", "snapshots: not a directory (mend or remove it", func(path string) error { return os.WriteFile(path, nil, 0o666) }},
		{"snapshots", "no such file or directory (mend or remove it", func(path string) error { return os.Symlink(t.TempDir(), path) }},
	} {
		s, _ := served(t)
		h, n := client(s, t.TempDir()), Name{Type: Models, Repo: id, Revision: "main"}
		require.NoError(t, os.MkdirAll(h.repo(n), 0o777))
		if err := c.make(filepath.Join(h.repo(n), c.path)); err != nil {
			t.Skip(err) // no links here
		}
		_, err := h.Model(t.Context(), n, vision)
		require.ErrorContains(t, err, c.message)
		_, ok := errors.AsType[*usererr.Error](err)
		require.True(t, ok)
	}
}

func TestSaid(t *testing.T) {
	for bytes, want := range map[int64]string{1: "1 KiB", 5 << 10: "5 KiB", 35 << 20: "35 MiB", 35<<20 + 1: "36 MiB", 3 << 30: "3.0 GiB"} {
		require.Equal(t, want, said(bytes))
	}
}

// Every pattern of --include finds something, or it is named.
func TestPatterns(t *testing.T) {
	s, repo := served(t)
	s.Repos["models/owner/empty"] = repository()
	n := Name{Type: Models, Repo: id, Revision: "main"}
	dir, err := client(s, t.TempDir()).Files(t.Context(), n, []string{"*", "config.json"})
	require.NoError(t, err)
	var all []string
	for name := range repo.Files {
		all = append(all, name)
	}
	equal(t, dir, repo, all...)
	for pattern, message := range map[string]string{
		"*.parquet": "none of its files fits *.parquet (there are ", "[": `"[" is no pattern (as in '*.json'`, "x/": "none of its files fits x/",
	} {
		_, err := client(s, t.TempDir()).Files(t.Context(), n, []string{"*.json", pattern})
		require.ErrorContains(t, err, message)
	}
	_, err = client(s, t.TempDir()).Files(t.Context(), Name{Type: Models, Repo: "owner/empty", Revision: "main"}, nil)
	require.ErrorContains(t, err, "it is empty")
}

func FuzzReadTree(f *testing.F) {
	f.Add([]byte(`[{"type": "file", "path": "a", "size": 1, "oid": "` + hubtest.Commit + `"}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		files, err := readTree(text)
		if err == nil && check(files) == nil {
			for _, f := range files {
				require.True(t, filepath.IsLocal(filepath.FromSlash(f.Name)))
			}
		}
	})
}

// A disk that has no room is told before anything is fetched, or in the middle, with what it lacks.
func TestAFullDisk(t *testing.T) {
	s, repo := served(t)
	h, n := client(s, t.TempDir()), Name{Type: Models, Repo: id, Revision: "main"}
	l, err := h.List(t.Context(), n)
	require.NoError(t, err)
	huge := File{"model.safetensors", 1 << 49, repo.Hash("model-00001-of-00002.safetensors")}
	_, err = h.Fetch(t.Context(), n, l, []File{huge})
	require.ErrorContains(t, err, " lacks ")
	require.ErrorContains(t, err, " GiB (free them, or name another folder by HF_HUB_CACHE; what came so far is kept)")
	if runtime.GOOS == "linux" {
		require.ErrorContains(t, (&group{Hub: h, name: n}).onDisk(&os.PathError{Op: "write", Path: "x", Err: errFull}, 3<<30), "lacks 3.0 GiB")
	}
}
