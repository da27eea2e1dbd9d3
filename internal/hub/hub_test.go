//go:build !js

package hub

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/hub/hubtest"
)

const id = "owner/tiny-model"

// served is a hub with one model: a small folder with a sharded safetensors model and files that nobody needs.
func served(t *testing.T) (*hubtest.Server, *hubtest.Repo) {
	s := hubtest.New(t)
	random := rand.NewChaCha8([32]byte{1})
	some := func(n int) []byte {
		data := make([]byte, n)
		_, _ = random.Read(data)
		return data
	}
	repo := &hubtest.Repo{Files: map[string][]byte{
		"config.json": []byte(`{"model_type": "llama"}`), "generation_config.json": []byte(`{}`), "README.md": []byte("# Model\n"),
		"tokenizer.json": some(5000), "tokenizer.model": some(700), "tokenizer_config.json": []byte(`{}`), "original/params.json": []byte(`{}`),
		"model-00001-of-00002.safetensors": some(300_001), "model-00002-of-00002.safetensors": some(64 << 10), "pytorch_model.bin": some(900),
		"model.safetensors.index.json": []byte(`{"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors",` +
			` "vision.x": "model-00002-of-00002.safetensors"}}`), "onnx/model.onnx": some(800), "empty.txt": nil,
	}, Large: map[string]bool{"model-00001-of-00002.safetensors": true, "model-00002-of-00002.safetensors": true, "tokenizer.model": true},
		Branches: []string{"refs/pr/1", "v1.0"}}
	s.Repos["models/"+id] = repo
	return s, repo
}

// client is a hub of its own over a cache.
func client(s *hubtest.Server, cache string) *Hub {
	h := New(s.Endpoint, cache)
	h.part, h.quiet, h.wait = 40_000, 2*time.Second, time.Millisecond
	return h
}

func read(tensor string) bool   { return false }
func vision(tensor string) bool { return strings.HasPrefix(tensor, "vision.") }

// equal compares all files of a folder with the repository's.
func equal(t *testing.T, dir string, repo *hubtest.Repo, names ...string) {
	t.Helper()
	var found []string
	require.NoError(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			name, _ := filepath.Rel(dir, path)
			found = append(found, filepath.ToSlash(name))
		}
		return err
	}))
	require.ElementsMatch(t, names, found)
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
		require.NoError(t, err)
		require.True(t, bytes.Equal(repo.Files[name], data), name)
	}
}

var modelFiles = []string{
	"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors.index.json",
	"model-00001-of-00002.safetensors",
}

func TestAModelComesOnceInThePlacesOfHuggingFace(t *testing.T) {
	s, repo := served(t)
	cache := t.TempDir()
	var last, total int64
	h := client(s, cache)
	h.Progress = func(done, all int64) { last, total = done, all }
	n := Name{Type: Models, Repo: id, Revision: "main"}
	dir, err := h.Model(t.Context(), n, vision)
	require.NoError(t, err)
	require.Equal(t, filepath.Join(cache, "models--owner--tiny-model", "snapshots", hubtest.Commit), dir)
	equal(t, dir, repo, modelFiles...)
	require.Equal(t, total, last)
	require.EqualValues(t, 300_001, total)
	ref, err := os.ReadFile(filepath.Join(cache, "models--owner--tiny-model", "refs", "main"))
	require.NoError(t, err)
	require.Equal(t, hubtest.Commit, string(ref))
	to, err := os.Readlink(filepath.Join(dir, "config.json"))
	require.NoError(t, err)
	require.Equal(t, filepath.Join("..", "..", "blobs", repo.Hash("config.json")), to)
	blobs, err := os.ReadDir(filepath.Join(cache, "models--owner--tiny-model", "blobs"))
	require.NoError(t, err)
	require.Len(t, blobs, len(modelFiles)-1, "two files are alike; nothing is left of what was on its way")
	require.EqualValues(t, 300_001, s.Served("model-00001-of-00002.safetensors"))
	require.Zero(t, s.Served("model-00002-of-00002.safetensors"), "nothing of it is read")

	before, _ := s.Asked()
	again, err := client(s, cache).Model(t.Context(), n, vision)
	require.NoError(t, err)
	require.Equal(t, dir, again)
	after, _ := s.Asked()
	require.Equal(t, 4, after-before, "the list of files alone")
	require.EqualValues(t, 300_001, s.Served("model-00001-of-00002.safetensors"))

	_, err = client(s, cache).Model(t.Context(), n, read)
	require.NoError(t, err)
	require.EqualValues(t, 64<<10, s.Served("model-00002-of-00002.safetensors"), "the rest comes when it is wanted")
}

func TestAllFilesAndBranchesAndCommits(t *testing.T) {
	s, repo := served(t)
	for _, revision := range []string{"main", "refs/pr/1", "v1.0", hubtest.Commit} {
		cache := t.TempDir()
		dir, err := client(s, cache).Files(t.Context(), Name{Type: Models, Repo: id, Revision: revision}, nil)
		require.NoError(t, err)
		var names []string
		for name := range repo.Files {
			names = append(names, name)
		}
		equal(t, dir, repo, names...)
		_, err = os.Stat(filepath.Join(cache, "models--owner--tiny-model", "refs", revision))
		require.Equal(t, revision == hubtest.Commit, err != nil)
	}
	dir, err := client(s, t.TempDir()).Files(t.Context(), Name{Type: Models, Repo: id, Revision: "main"}, []string{"*.json", "original/"})
	require.NoError(t, err)
	equal(t, dir, repo, "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "original/params.json",
		"model.safetensors.index.json")
}

func TestTheTokenStaysWithTheHub(t *testing.T) {
	s, repo := served(t)
	repo.Gated, repo.Private = true, true
	h := client(s, t.TempDir())
	h.Token = hubtest.Token
	dir, err := h.Model(t.Context(), Name{Type: Models, Repo: id, Revision: "main"}, vision)
	require.NoError(t, err)
	equal(t, dir, repo, modelFiles...)
	_, leaks := s.Asked()
	require.Zero(t, leaks)
}

// cuts are faults: one answer of so many breaks off after a random number of bytes, or is another status.
func cuts(s *hubtest.Server, seed uint64, one int, count *atomic.Int64) {
	random := rand.New(rand.NewPCG(seed, 1))
	var mu sync.Mutex
	s.Fault = func(w http.ResponseWriter, r *http.Request, storage bool) bool {
		mu.Lock()
		cut, status, after := random.IntN(one) == 0, random.IntN(4), random.IntN(60_000)
		mu.Unlock()
		if !cut {
			return false
		}
		count.Add(1)
		if status == 0 {
			w.Header().Set("Retry-After", "0")
			w.WriteHeader([]int{429, 500, 502, 503}[after%4])
			return true
		}
		s.Cut(w, r, storage, after)
		return true
	}
}

// However often the connection breaks off, the files are whole and no part that came whole comes again.
func TestAThousandCuts(t *testing.T) {
	times := 30
	if os.Getenv("QLORA_TEST_LONG") != "" {
		times = 1000
	}
	var cut atomic.Int64
	for i := range times {
		s, repo := served(t)
		cuts(s, uint64(i), 3, &cut)
		cache := t.TempDir()
		for range 100 { // as a user would
			dir, err := client(s, cache).Model(t.Context(), Name{Type: Models, Repo: id, Revision: "main"}, vision)
			if err == nil {
				equal(t, dir, repo, modelFiles...)
				break
			}
			require.ErrorContains(t, err, "cannot be reached")
		}
	}
	t.Logf("%d answers were cut", cut.Load())
	require.Greater(t, cut.Load(), int64(times))
}

// Ended at any moment, a fetch goes on where it was; whatever is in the cache under a name is right.
func TestEndedAtAnyMoment(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 12 {
		s, repo := served(t)
		cache, n := t.TempDir(), Name{Type: Models, Repo: id, Revision: "main"}
		for ended := true; ended; {
			ctx, cancel := context.WithCancel(t.Context())
			h := client(s, cache)
			left := atomic.Int64{}
			left.Store(random.Int64N(250_000))
			h.Progress = func(done, _ int64) {
				if done >= left.Load() {
					cancel()
				}
			}
			dir, err := h.Model(ctx, n, vision)
			cancel()
			if ended = err != nil; ended {
				require.ErrorIs(t, err, context.Canceled)
			} else {
				equal(t, dir, repo, modelFiles...)
			}
			if random.IntN(4) == 0 {
				h.Progress = nil
				dir, err := h.Model(t.Context(), n, vision)
				require.NoError(t, err)
				equal(t, dir, repo, modelFiles...)
				ended = false
			}
		}
		require.Less(t, s.Served("model-00001-of-00002.safetensors"), int64(300_001+20*8*40_000))
	}
}

// What came before is told as here when a fetch begins, and never again.
func TestProgressGoesOnWhereItWas(t *testing.T) {
	s, _ := served(t)
	cache, n := t.TempDir(), Name{Type: Models, Repo: id, Revision: "main"}
	ctx, cancel := context.WithCancel(t.Context())
	h := client(s, cache)
	h.Progress = func(done, total int64) {
		if total > 300_000 && done > 250_000 {
			cancel()
		}
	}
	_, err := h.Model(ctx, n, vision)
	require.ErrorIs(t, err, context.Canceled)
	var told []int64
	h.Progress = func(done, total int64) {
		if total > 300_000 {
			told = append(told, done)
		}
	}
	_, err = h.Model(t.Context(), n, vision)
	require.NoError(t, err)
	require.Positive(t, told[0], "parts that came whole")
	require.EqualValues(t, 300_001, told[len(told)-1])
	for i := 1; i < len(told); i++ {
		require.LessOrEqual(t, told[i]-told[i-1], int64(40_000), "a part at most at a time")
	}
}

func TestDamageIsNoticed(t *testing.T) {
	s, repo := served(t)
	n := Name{Type: Models, Repo: id, Revision: "main"}
	var always bool
	damaged := 0
	s.Fault = func(w http.ResponseWriter, r *http.Request, storage bool) bool {
		if !storage || damaged > 0 && !always || !strings.Contains(r.URL.RawQuery, "model-00001") {
			return false
		}
		damaged++
		s.Damage(w, r)
		return true
	}
	dir, err := client(s, t.TempDir()).Model(t.Context(), n, vision)
	require.NoError(t, err)
	equal(t, dir, repo, modelFiles...)
	require.Equal(t, 1, damaged)

	always = true
	cache := t.TempDir()
	_, err = client(s, cache).Model(t.Context(), n, vision)
	require.ErrorContains(t, err, "model-00001-of-00002.safetensors came damaged twice: its hash is ")
	require.NoFileExists(t, filepath.Join(cache, "models--owner--tiny-model", "blobs", repo.Hash("model-00001-of-00002.safetensors")))
	require.NoFileExists(t, filepath.Join(cache, "models--owner--tiny-model", "snapshots", hubtest.Commit, "model-00001-of-00002.safetensors"))

	require.NoFileExists(t, filepath.Join(cache, "models--owner--tiny-model", "refs", "main"), "of what is not whole")

	always = false
	dir, err = client(s, cache).Model(t.Context(), n, vision)
	require.NoError(t, err)
	equal(t, dir, repo, modelFiles...)
}

// Of many that want the same at once, one fetches and the others wait.
func TestTogether(t *testing.T) {
	s, repo := served(t)
	cache := t.TempDir()
	var waiting atomic.Int64
	var work sync.WaitGroup
	for range 5 {
		work.Go(func() {
			h := client(s, cache)
			h.Say = func(line string) { waiting.Add(1) }
			dir, err := h.Model(t.Context(), Name{Type: Models, Repo: id, Revision: "main"}, vision)
			if err != nil {
				t.Error(err)
				return
			}
			equal(t, dir, repo, modelFiles...)
		})
	}
	work.Wait()
	require.EqualValues(t, 300_001, s.Served("model-00001-of-00002.safetensors"))
	require.Positive(t, waiting.Load())
}

// A server that sends nothing for too long is asked again; one that knows no ranges sends the whole.
func TestSlowAndSimpleServers(t *testing.T) {
	s, repo := served(t)
	var asked atomic.Int64
	s.Fault = func(w http.ResponseWriter, r *http.Request, storage bool) bool {
		if storage && asked.Add(1)%3 == 1 {
			w.Header().Set("Content-Length", "300001")
			_, _ = w.Write(repo.Files["model-00001-of-00002.safetensors"][:5]) // of the whole
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return true
		}
		if storage {
			r.Header.Del("Range")
		}
		return false
	}
	h := client(s, t.TempDir())
	h.quiet = 50 * time.Millisecond
	dir, err := h.Model(t.Context(), Name{Type: Models, Repo: id, Revision: "main"}, vision)
	require.NoError(t, err)
	equal(t, dir, repo, modelFiles...)
}

func TestRetryAfterIsHeard(t *testing.T) {
	s, _ := served(t)
	first := true
	s.Fault = func(w http.ResponseWriter, r *http.Request, storage bool) bool {
		if first {
			first = false
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}
		return false
	}
	h := client(s, t.TempDir())
	h.wait = time.Nanosecond
	begin := time.Now()
	_, err := h.List(t.Context(), Name{Type: Models, Repo: id, Revision: "main"})
	require.NoError(t, err)
	require.GreaterOrEqual(t, time.Since(begin), time.Second)
	require.Equal(t, 7*time.Second, retryAfter("7"))
	require.Zero(t, retryAfter("-3"))
	require.Zero(t, retryAfter("soon"))
	require.Greater(t, retryAfter(time.Now().Add(time.Hour).UTC().Format(http.TimeFormat)), 50*time.Minute)
}

func TestNextPage(t *testing.T) {
	const here = "https://hub/api/models/a/b/tree/c?recursive=true"
	for link, want := range map[string]string{
		"": "", `<https://hub/x?cursor=1>; rel="next"`: "https://hub/x?cursor=1", `</y>; rel="next"`: "https://hub/y",
		`<https://hub/p>; rel="prev", <https://hub/n>; rel=next`: "https://hub/n", `<https://hub/p>; rel="last"`: "",
	} {
		got, err := next(here, link)
		require.NoError(t, err)
		require.Equal(t, want, got, link)
	}
	for _, to := range []string{"https://other/x", "http://hub/x", "https://hub:8/x", "//o/x"} {
		_, err := next(here, "<"+to+`>; rel="next"`)
		require.ErrorContains(t, err, "another host")
	}
}

func TestContentRange(t *testing.T) {
	for text, want := range map[string]string{
		"bytes 0-4/10": "0 10 true", "bytes 5-9/*": "5 -1 true", "bytes 5-9/9": "0 0 false", "bytes */10": "0 0 false", "": "0 0 false",
		"bytes 9-5/10": "0 0 false", "bytes -1-5/10": "0 0 false", "items 0-4/10": "0 0 false", "bytes 0-4/x": "0 0 false",
		"bytes 0-" + strconv.Itoa(1<<62) + "/1": "0 0 false",
	} {
		first, total, ok := contentRange(text)
		require.Equal(t, want, fmt.Sprint(first, total, ok), text)
	}
}
