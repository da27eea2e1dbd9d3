//go:build !js

package hub

import (
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/hub/hubtest"
)

// The environment of a process that only fetches: where from, and into which cache.
const (
	fromVariable = "QLORA_TEST_FETCH_FROM"
	intoVariable = "QLORA_TEST_FETCH_INTO"
)

// TestFetchInAProcessOfItsOwn is what TestKilledAtAnyMoment kills.
func TestFetchInAProcessOfItsOwn(t *testing.T) {
	if os.Getenv(fromVariable) == "" {
		t.Skip("no other test has started this process")
	}
	h := client(&hubtest.Server{Endpoint: os.Getenv(fromVariable)}, os.Getenv(intoVariable))
	dir, err := h.Model(t.Context(), Name{Type: Models, Repo: id, Revision: "main"}, vision)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(os.Getenv(intoVariable), "done"), []byte(dir), 0o666))
}

// Killed at any moment, one or two processes at a time, the next goes on where they were: what lies in the cache under
// a name is right, the files are those of the repository, and nothing else stays.
func TestKilledAtAnyMoment(t *testing.T) {
	least := 8
	if os.Getenv("QLORA_TEST_LONG") != "" {
		least = 1000
	}
	random, kills, fetches := rand.New(rand.NewPCG(5, 6)), 0, 0
	for ; kills < least; fetches++ {
		s, repo := served(t)
		s.Fault = func(_ http.ResponseWriter, _ *http.Request, storage bool) bool {
			if storage {
				time.Sleep(8 * time.Millisecond) // so that there is something to kill
			}
			return false
		}
		cache := t.TempDir()
		for {
			var children []*exec.Cmd
			for range 1 + random.IntN(2) {
				child := exec.Command(os.Args[0], "-test.run=^TestFetchInAProcessOfItsOwn$")
				child.Env = append(os.Environ(), fromVariable+"="+s.Endpoint, intoVariable+"="+cache)
				child.Stdout, child.Stderr = io.Discard, io.Discard
				require.NoError(t, child.Start())
				children = append(children, child)
			}
			time.Sleep(time.Duration(random.IntN(90)) * time.Millisecond)
			for _, child := range children {
				_ = child.Process.Kill() // it may have ended
				if child.Wait() != nil {
					kills++
				}
			}
			if random.IntN(4) == 0 {
				break
			}
		}
		dir, err := client(s, cache).Model(t.Context(), Name{Type: Models, Repo: id, Revision: "main"}, vision)
		require.NoError(t, err)
		equal(t, dir, repo, modelFiles...)
		left, err := filepath.Glob(filepath.Join(cache, "models--*", "blobs", "*.parts-*"))
		require.NoError(t, err)
		require.Empty(t, left)
	}
	t.Logf("%d kills of %d fetches", kills, fetches)
}
