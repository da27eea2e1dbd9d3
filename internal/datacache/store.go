//go:build !js

package datacache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/gofrs/flock"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/usererr"
)

// DefaultBeyond is how many tokens are held in memory: 32 MiB with their labels, and as much until that is collected.
const DefaultBeyond = 4 << 20

const (
	op         = "keep samples"
	suffix     = ".samples"
	lockSuffix = ".lock"
	temporary  = ".tmp"
)

// Store implements dataset.Store and dataset.Known in a folder. Close it when no samples of it are read any more.
type Store struct {
	ctx    context.Context
	dir    string
	beyond int
	warn   func(message string)
	info   func(message string)

	mu     sync.Mutex
	opened []*samples
}

// New keeps in dir, which need not exist, samples of more than beyond tokens. Waiting for another process ends with
// ctx. warn and info get what a user should know.
func New(ctx context.Context, dir string, beyond int, warn, info func(message string)) *Store {
	return &Store{ctx: ctx, dir: dir, beyond: beyond, warn: warn, info: info}
}

// Beyond implements dataset.Store.
func (s *Store) Beyond() int { return s.beyond }

// Close closes the files that Find and Finish gave samples from.
func (s *Store) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.opened {
		_ = o.file.Close() // it was only read
	}
	s.opened = nil
}

func (s *Store) path(key string) string { return filepath.Join(s.dir, key[:40]+suffix) }

// Find implements dataset.Store.
func (s *Store) Find(key string) (dataset.Samples, dataset.Report, error) {
	name := s.path(key)
	found, report, err := openSamples(s.ctx, name, key)
	switch {
	case err == nil:
		_ = os.Chtimes(name, time.Time{}, time.Now()) // so that its time says when it was last of use
		s.mu.Lock()
		defer s.mu.Unlock()
		s.opened = append(s.opened, found)
		return found, report, nil
	case s.ctx.Err() != nil:
		return nil, report, s.ctx.Err()
	case errors.Is(err, errDamaged):
		s.warn(fmt.Sprintf("The samples in %s are not used: %v. They are made anew.", name, err))
		_ = os.Remove(name) // if it stays, the new ones replace it
	case !errors.Is(err, fs.ErrNotExist):
		s.warn(fmt.Sprintf("The samples in %s cannot be read: %v. They are made anew.", name, err))
	}
	return nil, report, nil
}

// Create implements dataset.Store.
func (s *Store) Create(key string, bytes int64) (_ dataset.Keeping, found dataset.Samples, report dataset.Report, err error) {
	if err := (checkpoint.Files{}).MakeDir(s.dir); err != nil {
		return nil, nil, report, s.fail(err)
	}
	s.removeAbandoned()
	lock, err := s.lock(key)
	if err != nil {
		return nil, nil, report, err
	}
	if found, report, err = s.Find(key); found != nil || err != nil { // whoever had the lock has finished
		unlock(lock, true)
		return nil, found, report, err
	}
	k := &keeping{store: s, key: key, lock: lock, need: bytes}
	if err := k.begin(); err != nil {
		k.Discard()
		return nil, nil, report, err
	}
	s.info(fmt.Sprintf("The samples are kept in %s, about %s, also for later starts.", s.dir, size(bytes)))
	return k, nil, report, nil
}

// lock waits for whoever makes the same samples; nil where the file system has no locks: then both make them.
func (s *Store) lock(key string) (*flock.Flock, error) {
	f := flock.New(filepath.Join(s.dir, key[:40]+lockSuffix), flock.SetPermissions(0o666))
	locked, err := f.TryLock()
	if err == nil && !locked {
		s.info("Another process is preparing the same data set: waiting for it.")
		locked, err = f.TryLockContext(s.ctx, 200*time.Millisecond)
	}
	if s.ctx.Err() != nil {
		return nil, s.ctx.Err()
	}
	if err != nil || !locked {
		return nil, nil
	}
	return f, nil
}

// unlock lets others on. The lock's file goes only once the samples are there: whoever still waits on it finds them.
func unlock(f *flock.Flock, there bool) {
	if f == nil {
		return
	}
	if there {
		_ = os.Remove(f.Path())
	}
	_ = f.Unlock()
}

// removeAbandoned removes what processes left that died while they wrote. Whose lock is free is not written any more.
func (s *Store) removeAbandoned() {
	const unlocked = time.Hour      // where a file system has no locks: a writer goes on writing
	entries, _ := os.ReadDir(s.dir) // without the folder there are none
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !strings.HasSuffix(e.Name(), temporary) || !info.Mode().IsRegular() {
			continue
		}
		key, _, _ := strings.Cut(e.Name(), "-")
		f := flock.New(filepath.Join(s.dir, key+lockSuffix))
		locked, err := f.TryLock()
		if err == nil && locked || err != nil && time.Since(info.ModTime()) > unlocked {
			_ = os.Remove(filepath.Join(s.dir, e.Name())) // another one may have been faster
		}
		if locked {
			_ = f.Unlock()
		}
	}
}

// fail says where samples cannot be kept, and how to keep them elsewhere.
func (s *Store) fail(err error) error {
	var at *fs.PathError
	if errors.As(err, &at) {
		err = at.Err
	}
	return usererr.New(op, s.dir, "%w", err).Hinted("--cache-dir names another folder")
}

func (s *Store) noRoom(free, need int64) error {
	return usererr.New(op, s.dir, "the samples of this data set take about %s, %s are free", size(need), size(free)).
		Hinted("make room there, or name a folder on another disk with --cache-dir")
}

func size(bytes int64) string {
	if bytes >= 1e9 {
		return fmt.Sprintf("%.1f GB", float64(bytes)/1e9)
	}
	return fmt.Sprintf("%.1f MB", float64(bytes)/1e6)
}
