//go:build !js

package nf4cache

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/files"
)

// DefaultLimit is what the files of a cache folder take together, unless a single one takes more.
const DefaultLimit = 20 << 30

// Entry is a quantized model in a cache folder.
type Entry struct {
	Path  string    `json:"path"`
	Bytes int64     `json:"bytes"`
	Used  time.Time `json:"used"`  // for the last time
	Model []string  `json:"model"` // the files that it was made of, as far as they are remembered
}

// List gives the quantized models of a folder, which need not exist, the least recently used first.
func List(dir string) (list []Entry, err error) {
	list = []Entry{}
	found, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return list, nil
	} else if err != nil {
		return nil, err
	}
	records := readIndex(dir)
	for _, f := range found {
		info, err := f.Info()
		if err != nil || !strings.HasSuffix(f.Name(), suffix) || !info.Mode().IsRegular() {
			continue // another process has just removed it, or it is none of ours
		}
		e := Entry{Path: filepath.Join(dir, f.Name()), Bytes: info.Size(), Used: info.ModTime()}
		for _, r := range records {
			if strings.HasPrefix(f.Name(), contentName(r.Content, r.Digest)) {
				for _, id := range r.Files {
					e.Model = append(e.Model, id.Name)
				}
			}
		}
		list = append(list, e)
	}
	slices.SortStableFunc(list, func(a, b Entry) int { return a.Used.Compare(b.Used) })
	return list, nil
}

var errInUse = errors.New("a run uses it")

// Remove deletes the file, unless a run has it mapped.
func (e Entry) Remove() error { return removeUnused(e.Path) }

const (
	justMade  = 10 * time.Second // a writer locks its file soon after making it
	abandoned = time.Hour        // where nothing is locked: a writer goes on writing
)

// RemoveAbandoned removes the temporary files of processes that died while they wrote into the folder, and none of a
// process that lives.
func RemoveAbandoned(dir string) {
	entries, _ := os.ReadDir(dir) // without the folder there are none
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || !strings.HasSuffix(e.Name(), temporarySuffix) || !info.Mode().IsRegular() {
			continue
		}
		name, age := filepath.Join(dir, e.Name()), time.Since(info.ModTime())
		if age < justMade {
			continue
		}
		f, err := files.Open(name)
		if err != nil {
			continue
		}
		err = lock(f, true)
		_ = f.Close() // before it is removed: Windows keeps a file that is open
		if err == nil || !errors.Is(err, errInUse) && age > abandoned {
			_ = os.Remove(name) // another one may have been faster
		}
	}
}

// String names what it was made of.
func (e Entry) String() string {
	if len(e.Model) == 0 {
		return e.Path
	}
	s := e.Model[0]
	if n := len(e.Model) - 1; n > 0 {
		s += fmt.Sprintf(" and %d more", n)
	}
	return s
}

// makeRoom removes the least recently used models until so many bytes more fit the limit and the disk, and says which.
// Where that does not help, all stay.
func (c *Cache) makeRoom(need int64) {
	list, err := List(c.dir)
	if err != nil {
		return // writing will fail with a better reason
	}
	var total int64
	for _, e := range list {
		total += e.Bytes
	}
	free, err := checkpoint.Files{}.Free(c.dir)
	if err != nil || free < 0 {
		free = 1 << 62
	}
	if free+total < need {
		return
	}
	for _, e := range list {
		if total+need <= c.limit && free >= need {
			return
		}
		if e.Remove() == nil { // in use, or gone by now: the next one
			total, free = total-e.Bytes, free+e.Bytes
			c.info(fmt.Sprintf("Removed from the cache, for room: %s quantized (%.1f MB), last used on %s.",
				e, float64(e.Bytes)/1e6, e.Used.Format(time.DateOnly)))
		}
	}
}
