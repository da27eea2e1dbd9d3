//go:build !js

package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/hub"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/usererr"
)

// OpenHub is the hub that the environment names. It tells what it fetches and what is to be known of it.
func OpenHub(name string, emit func(events.Event)) (*hub.Hub, error) {
	h, err := hub.FromEnvironment()
	if _, said := errors.AsType[*usererr.Error](err); err != nil && !said {
		err = usererr.New("fetch from the hub", name, "%w", err)
	}
	if err != nil {
		return nil, err
	}
	h.Progress = progress(name, h.Cache, emit)
	h.Say = func(line string) { emit(events.Info{Message: line}) }
	return h, nil
}

// progress tells how far the fetching is, which may be several in a row: of a model first its texts, then its weights.
// What was here before one began counts for none of its rate.
func progress(name, cache string, emit func(events.Event)) func(done, total int64) {
	var begin, last time.Time
	first, whole := int64(0), int64(-1)
	return func(done, total int64) {
		now := time.Now()
		if total != whole {
			begin, last, first, whole = now, time.Time{}, done, total
			if done < total {
				emit(events.Info{Message: fmt.Sprintf("Fetching %s: %s, of which %s are here, into %s", name, size(total), size(done), cache)})
			}
		}
		if done == total || now.Sub(last) > 100*time.Millisecond {
			last = now
			rate := float64(done-first) / max(now.Sub(begin).Seconds(), 1e-3)
			emit(events.Fetching{Part: events.Part{Done: done, Total: total}, Name: name, Rate: rate})
		}
	}
}

func size(bytes int64) string {
	switch b := float64(bytes); {
	case b < 1e5:
		return fmt.Sprintf("%.1f kB", b/1e3)
	case b < 1e9:
		return fmt.Sprintf("%.1f MB", b/1e6)
	default:
		return fmt.Sprintf("%.1f GB", b/1e9)
	}
}

// OpenModel opens a model by its path, or where there is none by its name on the hub. Errors are *usererr.Error and
// ctx's.
func OpenModel(ctx context.Context, name string, emit func(events.Event)) (*pretrained.Model, error) {
	path, err := FindModel(ctx, name, emit)
	if err != nil {
		return nil, err
	}
	return open(path)
}

// OpenWhole is OpenModel with all of the model's files, those among them that only images need.
func OpenWhole(ctx context.Context, name string, emit func(events.Event)) (*pretrained.Model, error) {
	path, err := find(ctx, name, hub.Models, emit, func(h *hub.Hub, n hub.Name) (string, error) {
		return h.Model(ctx, n, func(string) bool { return false })
	})
	if err != nil {
		return nil, err
	}
	return open(path)
}

func open(path string) (*pretrained.Model, error) {
	m, err := pretrained.Open(path)
	if err == nil {
		m.Name = hub.RepoOf(path)
	}
	return m, err
}

// DescribeModel is OpenModel of what describes a model alone: of one on the hub that is not in the cache only the
// headers of its files are fetched.
func DescribeModel(ctx context.Context, name string, emit func(events.Event)) (m *pretrained.Model, err error) {
	path, err := find(ctx, name, hub.Models, emit, func(h *hub.Hub, n hub.Name) (string, error) {
		if _, ok := h.Has(ctx, n, Unread); ok || n.File != "" || h.Offline {
			return name, nil
		}
		remote, err := h.Remote(ctx, n)
		if err != nil {
			return "", err
		}
		if !remote.IsFolder() {
			return name, nil
		}
		if m, err = pretrained.DescribeFolder(remoteFolder{remote}, n.String()); err == nil {
			m.Name = n.Repo
			emit(events.Info{Message: fmt.Sprintf("Of %s the headers alone were read, %s; its weights are %s.", n,
				size(remote.Fetched()), size(remote.Size()))})
		}
		return "", err
	})
	if err != nil || m != nil {
		return m, err
	}
	return OpenModel(ctx, path, emit)
}

type remoteFolder struct{ *hub.Remote }

// Open implements pretrained.Folder.
func (r remoteFolder) Open(name string) (pretrained.File, error) {
	f, err := r.Remote.Open(name)
	if err != nil {
		return nil, err
	}
	return f, nil
}

// FindModel is the path of a model of that path or name; what is fetched for it is in the cache then.
func FindModel(ctx context.Context, name string, emit func(events.Event)) (string, error) {
	return find(ctx, name, hub.Models, emit, func(h *hub.Hub, n hub.Name) (string, error) {
		return h.Model(ctx, n, Unread)
	})
}

// FindAdapter is the folder of an adapter of that path or name, or its GGUF file.
func FindAdapter(ctx context.Context, name string, emit func(events.Event)) (string, error) {
	return find(ctx, name, hub.Models, emit, func(h *hub.Hub, n hub.Name) (string, error) { return h.Adapter(ctx, n) })
}

func find(ctx context.Context, name string, t hub.Type, emit func(events.Event),
	fetch func(*hub.Hub, hub.Name) (string, error),
) (string, error) {
	n, named, err := hub.Parse(name, t)
	_, statErr := os.Stat(name)
	switch absent := errors.Is(statErr, fs.ErrNotExist); {
	case !absent && named && err == nil && !filepath.IsAbs(name) && strings.HasPrefix(name, n.Repo):
		emit(events.Info{Message: name + " is taken from this computer, not from the hub."})
		return name, nil
	case !absent || !named:
		return name, nil
	case err != nil:
		return "", err
	}
	h, err := OpenHub(n.String(), emit)
	if err != nil {
		return "", err
	}
	path, err := fetch(h, n)
	if e, ok := errors.AsType[*usererr.Error](err); ok && !strings.Contains(name, "://") {
		e.Hint = strings.TrimPrefix(e.Hint+"; there is no such path on this computer either", "; ")
	}
	return path, err
}

// Unread tells of a tensor that no model of ours reads.
func Unread(tensor string) bool { return pretrained.OnlyForImages(tensor) }
