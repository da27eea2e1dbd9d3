//go:build !js

package hub

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sync/errgroup"

	"qlora-wgpu/internal/usererr"
)

const (
	filesAtOnce = 4
	partsAtOnce = 8 // over all files
	lockEvery   = 200 * time.Millisecond
)

// Fetch brings files of a listing into the cache, as far as they are not there, and gives the folder of their commit.
// Of two processes that want a file one fetches it and the other waits. Errors are *usererr.Error and ctx's; what came
// before one is gone on from the next time.
func (h *Hub) Fetch(ctx context.Context, n Name, l Listing, files []File) (string, error) {
	dir := h.snapshot(n, l.Commit)
	fail := func(err error) (string, error) { return "", h.explain(n, err) }
	if err := check(files); err != nil {
		return fail(err)
	}
	g := &group{Hub: h, name: n, commit: l.Commit, slots: make(chan struct{}, partsAtOnce)}
	var missing []File
	var before []int64 // bytes of each of them that are here
	left := int64(0)
	for _, f := range files {
		g.total += f.Size
		if h.here(n, l.Commit, f) {
			g.done.Add(f.Size)
			continue
		}
		b := begun(h.blob(n, f), f, h.part)
		g.done.Add(b)
		missing, before = append(missing, f), append(before, b)
		left += f.Size - b
	}
	if err := h.makeRoom(n, left); err != nil {
		return "", err
	}
	g.tell(0)
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(filesAtOnce)
	for i, f := range missing {
		work.Go(func() error { return g.fetch(ctx, f, before[i]) })
	}
	if err := work.Wait(); err != nil {
		return fail(err)
	}
	return dir, nil
}

// makeRoom makes the folder of blobs and refuses what its disk has no room for.
func (h *Hub) makeRoom(n Name, bytes int64) error {
	blobs := filepath.Join(h.repo(n), "blobs")
	if bytes == 0 {
		return nil
	}
	if err := os.MkdirAll(blobs, 0o777); err != nil {
		return usererr.New(op, n.String(), "%w", err).Hinted("HF_HUB_CACHE names another folder for the cache")
	}
	if free := free(blobs); free >= 0 && free < bytes {
		return noRoom(n, blobs, bytes-free)
	}
	return nil
}

func noRoom(n Name, dir string, bytes int64) error {
	return usererr.New(op, n.String(), "the disk of %s lacks %s", dir, said(bytes)).
		Hinted("free them, or name another folder by HF_HUB_CACHE; what came so far is kept")
}

// said is a number of bytes in words.
func said(bytes int64) string {
	switch {
	case bytes < 10<<20:
		return fmt.Sprintf("%d KiB", (bytes+1<<10-1)>>10)
	case bytes < 1<<30:
		return fmt.Sprintf("%d MiB", (bytes+1<<20-1)>>20)
	}
	return fmt.Sprintf("%.1f GiB", float64(bytes)/(1<<30))
}

// group is the work of one Fetch.
type group struct {
	*Hub
	name   Name
	commit string
	slots  chan struct{} // one for each request at a time

	total   int64
	done    atomic.Int64
	telling sync.Mutex
}

// tell adds to what is here, and says it.
func (g *group) tell(bytes int64) {
	done := g.done.Add(bytes)
	if g.Progress != nil {
		g.telling.Lock()
		defer g.telling.Unlock()
		g.Progress(done, g.total)
	}
}

// fetch brings one file, checked, to its name. Of its bytes those that were here before are told already.
func (g *group) fetch(ctx context.Context, f File, before int64) error {
	locks := filepath.Join(g.Cache, ".locks", g.name.folder())
	if err := os.MkdirAll(locks, 0o777); err != nil {
		return err
	}
	lock := flock.New(filepath.Join(locks, f.Hash+".lock"))
	if locked, err := lock.TryLock(); err == nil && !locked {
		g.say(f.Name + " is being fetched by another process: waiting for it")
		if _, err := lock.TryLockContext(ctx, lockEvery); err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
	} // a disk without locks costs a file that is fetched twice
	defer lock.Close()
	if g.here(g.name, g.commit, f) { // meanwhile
		g.tell(f.Size - before)
		return nil
	}
	blob := g.blob(g.name, f)
	if info, err := os.Stat(blob); err == nil && info.Size() == f.Size {
		g.tell(f.Size - before)
		return g.link(g.name, g.commit, f)
	}
	for again := false; ; again = true {
		p, err := openPartial(blob, f, g.part)
		if err != nil {
			return g.onDisk(err, f.Size)
		}
		g.tell(p.have() - before)
		err = g.fill(ctx, f, p)
		if err == nil {
			err = p.finish(blob)
		}
		p.Close()
		var wrong *wrongHash
		switch {
		case err == nil:
			return g.link(g.name, g.commit, f)
		case !errors.As(err, &wrong):
			return g.onDisk(err, p.lacks())
		case again:
			return usererr.New(op, g.name.String(), "%s came damaged twice: %w", f.Name, err).
				Hinted("something between you and the hub changes files: a proxy, or a mirror named by HF_ENDPOINT")
		}
		g.tell(-f.Size)
		before = 0
	}
}

// onDisk says what a full disk means.
func (g *group) onDisk(err error, lacks int64) error {
	if errors.Is(err, syscall.ENOSPC) {
		return noRoom(g.name, filepath.Join(g.repo(g.name), "blobs"), lacks)
	}
	return err
}

// fill fetches the parts that a file lacks.
func (g *group) fill(ctx context.Context, f File, p *partial) error {
	work, inner := errgroup.WithContext(ctx)
	for i := range p.parts {
		if p.has(i) {
			continue
		}
		select {
		case g.slots <- struct{}{}:
			work.Go(func() error {
				defer func() { <-g.slots }()
				return g.fetchPart(inner, f, p, i)
			})
		case <-inner.Done():
		}
	}
	if err := work.Wait(); err != nil {
		return err
	}
	return ctx.Err()
}
