//go:build !js

package hub

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestNames(t *testing.T) {
	for text, want := range map[string]Name{
		"owner/name":                                  {Models, "owner/name", "main", ""},
		"owner/name@v1.0":                             {Models, "owner/name", "v1.0", ""},
		"owner/name@refs/pr/1":                        {Models, "owner/name", "refs/pr/1", ""},
		"owner/name:Q4_K_M":                           {Models, "owner/name", "main", "Q4_K_M"},
		"owner/name@v1:Q4_K_M":                        {Models, "owner/name", "v1", "Q4_K_M"},
		"hf.co/owner/name:IQ4_XS":                     {Models, "owner/name", "main", "IQ4_XS"},
		"hf://owner/name":                             {Models, "owner/name", "main", ""},
		"datasets/owner/set":                          {Datasets, "owner/set", "main", ""},
		"https://huggingface.co/owner/name/":          {Models, "owner/name", "main", ""},
		"https://huggingface.co/owner/name/tree/main": {Models, "owner/name", "main", ""},
		"https://huggingface.co/owner/name/tree/refs%2Fpr%2F1?x=1#y":  {Models, "owner/name", "refs/pr/1", ""},
		"https://huggingface.co/owner/name/blob/v2/sub/x-Q8_0.gguf":   {Models, "owner/name", "v2", "sub/x-Q8_0.gguf"},
		"https://huggingface.co/owner/name/blob/v2/config.json":       {Models, "owner/name", "v2", ""},
		"https://huggingface.co/datasets/owner/set/tree/main/data":    {Datasets, "owner/set", "main", ""},
		"https://huggingface.co/owner/name/discussions/3":             {Models, "owner/name", "main", ""},
		"www.huggingface.co/Owner_1/Name.2-x":                         {Models, "Owner_1/Name.2-x", "main", ""},
		"owner/name@0123456789abcdef0123456789abcdef01234567":         {Models, "owner/name", "0123456789abcdef0123456789abcdef01234567", ""},
		"https://huggingface.co/owner/name/resolve/main/a%20b/m.gguf": {Models, "owner/name", "main", "a b/m.gguf"},
		"http://hf.co/owner/name/commit/0123456789":                   {Models, "owner/name", "0123456789", ""},
		"models/owner/name":                   {Models, "owner/name", "main", ""},
		"https://huggingface.co/models/owner": {},
		"https://huggingface.co/owner":        {},
		"https://huggingface.co/":             {},
		"owner/name@":                         {},
		"owner/name@../../x":                  {},
		"owner/name@a..b":                     {},
		"hf.co/../..":                         {},
		"hf.co/a--b/c":                        {},
		"owner/name:":                         {Models, "owner/name", "main", ""},
	} {
		got, named, err := Parse(text, Models)
		require.True(t, named, text)
		if want.Repo == "" {
			require.Error(t, err, text)
			continue
		}
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
		again, _, err := Parse(got.String(), got.Type)
		require.NoError(t, err)
		require.Equal(t, got, again)
	}
	for _, path := range []string{
		"model.gguf", "./owner/name", "../name", "a/b/c", "/a/b", `C:\a\b`,
		"C:/a", "a/b.git", "~/a", "", ".", "a/", "a//b", "out/model:x/y", "owner/name:../x",
	} {
		_, named, err := Parse(path, Models)
		require.False(t, named, path)
		require.NoError(t, err, path)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("owner/name@refs/pr/1:Q4_K_M")
	f.Add("https://huggingface.co/datasets/owner/set/tree/ma%69n/x?y#z")
	f.Fuzz(func(t *testing.T, text string) {
		n, named, err := Parse(text, Models)
		if !named || err != nil {
			return
		}
		h := New("https://hub", "cache")
		require.True(t, filepath.IsLocal(n.folder()), n.folder())
		require.Equal(t, "cache", filepath.Dir(h.repo(n)))
		require.True(t, filepath.IsLocal(filepath.Join("refs", n.Revision)), n.Revision)
	})
}

func TestTheEnvironmentIsHuggingFaces(t *testing.T) {
	home := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(home, "token"), []byte("hf_file\n"), 0o600))
	at := func(pairs ...string) *Hub {
		h, err := fromEnvironment(func(name string) string {
			for i := 0; i < len(pairs); i += 2 {
				if pairs[i] == name {
					return pairs[i+1]
				}
			}
			return ""
		})
		require.NoError(t, err)
		return h
	}
	h := at()
	user, err := os.UserHomeDir()
	require.NoError(t, err)
	require.Equal(t, "https://huggingface.co", h.Endpoint)
	require.Equal(t, filepath.Join(user, ".cache", "huggingface", "hub"), h.Cache)
	require.False(t, h.Offline)
	require.Equal(t, filepath.Join("x", "huggingface", "hub"), at("XDG_CACHE_HOME", "x").Cache)
	h = at("HF_HOME", home, "HF_ENDPOINT", "http://mirror/", "HF_HUB_OFFLINE", "yes")
	require.Equal(t, filepath.Join(home, "hub"), h.Cache)
	require.Equal(t, "http://mirror", h.Endpoint)
	require.Equal(t, "hf_file", h.Token)
	require.True(t, h.Offline)
	require.Equal(t, "c", at("HF_HOME", home, "HF_HUB_CACHE", "c", "HUGGINGFACE_HUB_CACHE", "d").Cache)
	require.Equal(t, filepath.Join(user, "c"), at("HF_HUB_CACHE", "~/c").Cache)
	require.Equal(t, "hf_own", at("HF_HOME", home, "HF_TOKEN", " hf_own ").Token)
	require.Equal(t, "hf_file", at("HF_TOKEN_PATH", filepath.Join(home, "token")).Token)
	require.Empty(t, at("HF_HOME", home, "HF_HUB_DISABLE_IMPLICIT_TOKEN", "1").Token)
	for name, c := range map[string]struct{ value, message string }{
		"HF_TOKEN":      {"hf_a\nhf_b", "read the hub's token: it has characters that no token has (HF_TOKEN, or the file"},
		"HF_TOKEN_PATH": {home, "read the hub's token " + home + ": "},
	} {
		_, err := fromEnvironment(func(asked string) string {
			if asked == name {
				return c.value
			}
			return ""
		})
		require.ErrorContains(t, err, c.message)
	}
}

// Messages show the pages of the hub that is asked: their addresses are names as well.
func TestPagesOfAMirror(t *testing.T) {
	t.Setenv("HF_ENDPOINT", "http://mirror:8/hf/")
	for text, want := range map[string]Name{
		"http://mirror:8/hf/owner/name":                  {Models, "owner/name", "main", ""},
		"http://mirror:8/hf/datasets/owner/set/tree/dev": {Datasets, "owner/set", "dev", ""},
		"https://huggingface.co/owner/name":              {Models, "owner/name", "main", ""},
		"owner/name":                                     {Models, "owner/name", "main", ""},
	} {
		n, named, err := Parse(text, Models)
		require.NoError(t, err)
		require.True(t, named, text)
		require.Equal(t, want, n)
	}
	_, named, _ := Parse("http://mirror:9/hf/owner/name", Models)
	require.False(t, named)
	t.Setenv("HF_ENDPOINT", "")
	_, named, _ = Parse("/owner/name", Models)
	require.False(t, named)
}
