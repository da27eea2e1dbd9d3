//go:build !js

package host

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/hub"
	"qlora-wgpu/internal/hub/hubtest"
	"qlora-wgpu/internal/pretrained"
)

// watched is a folder that notes what is looked for.
type watched struct {
	files fs.FS
	asked map[string]bool
}

type watchedFile struct {
	*strings.Reader
}

func (watchedFile) Close() error  { return nil }
func (f watchedFile) Size() int64 { return f.Reader.Size() }

func (w watched) Open(name string) (pretrained.File, error) {
	w.asked[name] = true
	data, err := fs.ReadFile(w.files, name)
	return watchedFile{strings.NewReader(string(data))}, err
}

func (w watched) List(dir string) ([]string, error) {
	if dir != "." && dir != "" {
		w.asked[dir+"/x.jinja"] = true
	}
	return nil, nil
}

// lookedFor are the files that a model's folder is looked through for, whatever its tokenizer.
func lookedFor(t *testing.T) map[string]bool {
	w := watched{demo.ModelFiles(), map[string]bool{}}
	m, err := pretrained.OpenFolder(w, "x")
	require.NoError(t, err)
	defer m.Close()
	require.Greater(t, len(w.asked), 7)
	return w.asked
}

// Whatever a folder is looked through for, the hub's client fetches, and so does the page.
func TestAllThatIsReadIsFetched(t *testing.T) {
	s := hubtest.New(t)
	repo := &hubtest.Repo{Files: map[string][]byte{}}
	page, err := os.ReadFile(filepath.Join("..", "..", "web", "page", "hub.js"))
	require.NoError(t, err)
	asked := lookedFor(t)
	for name := range asked {
		repo.Files[name] = []byte(name)
	}
	s.Repos["models/owner/whole"] = repo
	dir, err := hub.New(s.Endpoint, t.TempDir()).Model(t.Context(), hub.Name{Type: hub.Models, Repo: "owner/whole", Revision: "main"}, Unread)
	require.NoError(t, err)
	for name := range asked {
		require.FileExists(t, filepath.Join(dir, name))
		if !strings.Contains(name, "/") { // of the page: the files of folders are not fetched
			require.True(t, strings.Contains(string(page), "'"+name+"'"), name)
		}
	}
}

func TestProgressOfAFetch(t *testing.T) {
	var lines []string
	var last events.Fetching
	tell := progress("a/b", "/cache", func(e events.Event) {
		if info, ok := e.(events.Info); ok {
			lines = append(lines, info.Message)
		} else {
			last = e.(events.Fetching)
		}
	})
	for _, at := range [][2]int64{{3000, 3000}, {7e9, 14e9}, {7e9, 14e9}} { // the texts are here, and half of the weights
		tell(at[0], at[1])
	}
	require.Equal(t, []string{"Fetching a/b: 14.0 GB, of which 7.0 GB are here, into /cache"}, lines)
	require.Zero(t, last.Rate, "nothing has come")
	tell(0, 2000)
	require.Equal(t, "Fetching a/b: 2.0 kB, of which 0.0 kB are here, into /cache", lines[1])
}
