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
	if err != nil {
		return nil, usererr.New("fetch from the hub", name, "%w", err)
	}
	begin, first, last := time.Now(), int64(-1), time.Time{}
	h.Progress = func(done, total int64) {
		if first < 0 {
			if first = done; done < total {
				emit(events.Info{Message: fmt.Sprintf("Fetching %s: %.1f MB, of which %.1f are here, into %s", name, float64(total)/1e6,
					float64(done)/1e6, h.Cache)})
			}
		}
		if now := time.Now(); done == total || now.Sub(last) > 100*time.Millisecond {
			last = now
			emit(events.Fetching{Part: events.Part{Done: done, Total: total}, Name: name, Rate: float64(done-first) / now.Sub(begin).Seconds()})
		}
	}
	h.Say = func(line string) { emit(events.Info{Message: line}) }
	return h, nil
}

// OpenModel opens a model by its path, or where there is none by its name on the hub. Errors are *usererr.Error and
// ctx's.
func OpenModel(ctx context.Context, name string, emit func(events.Event)) (*pretrained.Model, error) {
	path, err := FindModel(ctx, name, emit)
	if err != nil {
		return nil, err
	}
	m, err := pretrained.Open(path)
	if err == nil {
		m.Name = hub.RepoOf(path)
	}
	return m, err
}

// FindModel is the path of a model of that path or name; what is fetched for it is in the cache then.
func FindModel(ctx context.Context, name string, emit func(events.Event)) (string, error) {
	return find(ctx, name, hub.Models, emit, func(h *hub.Hub, n hub.Name) (string, error) {
		return h.Model(ctx, n, Unread)
	})
}

// FindAdapter is the folder of an adapter of that path or name.
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
