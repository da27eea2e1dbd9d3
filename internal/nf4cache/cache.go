//go:build !js

package nf4cache

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/pretrained"
)

// Cache implements paging.Cache for one model in a folder.
type Cache struct {
	dir        string
	limit      int64 // of all files together, in bytes
	source     *pretrained.Model
	warn       func(message string)
	info       func(message string)
	cancel     context.CancelFunc
	digest     func() (string, error) // of the model's content, taken once
	work       sync.WaitGroup         // in the background: it reads the model and finishes a file
	failed     error                  // of that work
	publishing bool
	found      *mapping
}

// New is the cache of the model's quantized forms in dir, which need not exist. A file that would take the folder over
// limit bytes displaces those that were not used for longest. warn and info get what a user should know, in the
// goroutine of the caller. Close it before the model.
func New(ctx context.Context, dir string, limit int64, source *pretrained.Model, warn, info func(message string)) *Cache {
	c := &Cache{dir: dir, limit: limit, source: source, warn: warn, info: info}
	ctx, c.cancel = context.WithCancel(ctx)
	c.digest = sync.OnceValues(func() (string, error) { return c.contentDigest(ctx) })
	return c
}

const suffix = ".nf4"

// settingsKey is what tells apart the files of one content.
func settingsKey(settings string, sizes []int64) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %d", formatVersion, settings, sizes))
	return hex.EncodeToString(sum[:8])
}

// contentName is how the files of one content begin; without a digest it is what all contents with the same headers and
// ends share.
func contentName(hash, digest string) string { return hash[:16] + "-" + digest[:min(32, len(digest))] }

func (c *Cache) path(digest, settings string, sizes []int64) string {
	return filepath.Join(c.dir, contentName(c.source.ContentHash(), digest)+"-"+settingsKey(settings, sizes)+suffix)
}

// Find implements paging.Cache.
func (c *Cache) Find(ctx context.Context, settings string, sizes []int64) [][]byte {
	c.Release()
	RemoveAbandoned(c.dir)
	c.dropReplaced()
	begin, end := contentName(c.source.ContentHash(), ""), "-"+settingsKey(settings, sizes)+suffix
	if len(c.names(func(name string) bool { return strings.HasPrefix(name, begin) && strings.HasSuffix(name, end) })) == 0 {
		return nil
	}
	digest, err := c.digest()
	if err != nil {
		return nil // the model cannot be read: loading will say it
	}
	name := c.path(digest, settings, sizes)
	m, err := openFile(ctx, name, c.key(digest, settings, sizes), sizes)
	switch {
	case err == nil:
		c.found = m
		_ = os.Chtimes(name, time.Time{}, time.Now()) // otherwise it seems to be used less than it is
		c.info("The quantized model comes from the cache: " + name)
		return m.parts
	case errors.Is(err, fs.ErrNotExist) || ctx.Err() != nil:
	case errors.Is(err, errDamaged):
		c.warn(fmt.Sprintf("The cached model %s is not used: %v. It is made anew.", name, err))
		_ = os.Remove(name) // if it stays, the new one replaces it
	default:
		c.warn(fmt.Sprintf("The cached model %s cannot be read: %v", name, err))
	}
	return nil
}

// key stands in a file's header.
func (c *Cache) key(digest, settings string, sizes []int64) [sha256.Size]byte {
	return sha256.Sum256([]byte(c.source.ContentHash() + digest + settingsKey(settings, sizes)))
}

// names lists the files of the folder that are meant.
func (c *Cache) names(meant func(name string) bool) (names []string) {
	entries, _ := os.ReadDir(c.dir) // without the folder there are none
	for _, e := range entries {
		if meant(e.Name()) {
			names = append(names, e.Name())
		}
	}
	return names
}

// Release implements paging.Cache.
func (c *Cache) Release() {
	if c.found != nil {
		c.found.release()
		c.found = nil
	}
}

// Close waits until a file that was written is complete, which a disk may take seconds for, and ends the cache's use of
// the model.
func (c *Cache) Close() {
	if !c.publishing {
		c.cancel() // nobody wants the digest
	}
	c.work.Wait()
	c.cancel()
	c.Release()
	if c.failed != nil && !errors.Is(c.failed, context.Canceled) {
		c.warn(fmt.Sprintf("The quantized model is not cached: %v", c.failed))
	}
	c.failed = nil
}

// Create implements paging.Cache.
func (c *Cache) Create(settings string, sizes []int64) (write func(data []byte), finish func(complete bool)) {
	refuse := func(format string, args ...any) (func([]byte), func(bool)) {
		c.warn("The quantized model is not cached: " + fmt.Sprintf(format, args...))
		return nil, nil
	}
	files := checkpoint.Files{}
	if err := files.MakeDir(c.dir); err != nil {
		return refuse("%v", err)
	}
	need := fileSize(sizes) + 1<<20
	c.makeRoom(need)
	if free, err := files.Free(c.dir); err != nil {
		return refuse("free space in %s: %v", c.dir, err)
	} else if free >= 0 && free < need {
		return refuse("%s has %.1f MB free, %.1f MB are needed (--cache-dir chooses another folder)", c.dir, float64(free)/1e6, float64(need)/1e6)
	}
	f, err := os.CreateTemp(c.dir, "*"+temporarySuffix)
	if err != nil {
		return refuse("%v", err)
	}
	_ = lock(f, true) // without it the file's age has to do
	w := &writer{cache: c, file: f, settings: settings, sizes: sizes, model: c.identities()}
	if _, err := f.Seek(headerSize(len(sizes)), io.SeekStart); err != nil {
		w.err = err
	}
	c.work.Go(func() { _, _ = c.digest() }) // publish asks for it
	c.info("The quantized model is cached for the next start in " + c.dir)
	return w.write, w.finish
}
