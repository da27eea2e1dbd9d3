//go:build !js

package nf4cache

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/files"
)

// indexFile remembers the content of the models that were loaded last, so that it is not hashed at every start.
const (
	indexFile  = "models.json"
	indexLimit = 64 // models
	maxIndex   = 16 << 20
)

// record is a model whose content is known as long as its files stay as they were.
type record struct {
	Files   []identity `json:"files"`
	Content string     `json:"content"` // pretrained's ContentHash: headers and both ends of each tensor
	Digest  string     `json:"digest"`  // of every byte
}

// identity of a file changes when it is written to or replaced.
type identity struct {
	Name    string `json:"name"`
	Size    int64  `json:"size"`
	Changed int64  `json:"changed"` // nanoseconds since 1970
	Number  uint64 `json:"number"`  // in its file system; 0 where there is none
}

// identities of the weight files, or nil where they are no files of this system.
func (c *Cache) identities() (list []identity) {
	for _, name := range c.source.Files() {
		full, err := filepath.Abs(name)
		if err != nil {
			return nil
		}
		info, err := os.Stat(full)
		if err != nil {
			return nil
		}
		list = append(list, identity{full, info.Size(), info.ModTime().UnixNano(), files.Number(info)})
	}
	return list
}

func readIndex(dir string) (records []record) {
	data, err := files.Read(filepath.Join(dir, indexFile), maxIndex)
	if err != nil || json.Unmarshal(data, &records) != nil {
		return nil // only hashes are lost
	}
	return slices.DeleteFunc(records, func(r record) bool { return len(r.Content) < 16 || len(r.Digest) < 32 })
}

// samePlace tells whether both are files of the same names.
func samePlace(a, b []identity) bool {
	return slices.EqualFunc(a, b, func(a, b identity) bool { return a.Name == b.Name })
}

// remembered is the record of the model's place, whatever it says.
func (c *Cache) remembered(files []identity) *record {
	for _, r := range readIndex(c.dir) {
		if len(files) > 0 && samePlace(r.Files, files) {
			return &r
		}
	}
	return nil
}

// settled is how old a change must be: a file that is still being written can change once more within the clock's tick.
const settled = 2 * time.Second

// remember puts a record in the first place of the index. If that fails, the model is hashed again.
func (c *Cache) remember(r record) {
	for _, f := range r.Files {
		if time.Since(time.Unix(0, f.Changed)) < settled {
			return
		}
	}
	records := slices.DeleteFunc(readIndex(c.dir), func(old record) bool { return samePlace(old.Files, r.Files) })
	records = append([]record{r}, records...)
	data, err := json.MarshalIndent(records[:min(len(records), indexLimit)], "", "  ")
	if err != nil || os.MkdirAll(c.dir, 0o777) != nil {
		return
	}
	_ = checkpoint.WriteBytes(checkpoint.Files{}, filepath.Join(c.dir, indexFile), data)
}

// contentDigest is the model's Digest, from the index where the files are as they were.
func (c *Cache) contentDigest(ctx context.Context) (string, error) {
	files := c.identities()
	if r := c.remembered(files); r != nil && r.Content == c.source.ContentHash() && slices.Equal(r.Files, files) {
		return r.Digest, nil
	}
	digest, err := c.source.Digest(ctx)
	if err == nil && len(files) > 0 && slices.Equal(files, c.identities()) {
		c.remember(record{files, c.source.ContentHash(), digest})
	}
	return digest, err
}

// dropReplaced removes what was made of files that have other contents by now.
func (c *Cache) dropReplaced() {
	files := c.identities()
	old := c.remembered(files)
	if old == nil || old.Content == c.source.ContentHash() && slices.Equal(old.Files, files) {
		return
	}
	if old.Content == c.source.ContentHash() {
		if digest, err := c.digest(); err != nil || digest == old.Digest {
			return
		}
	}
	begin := contentName(old.Content, old.Digest)
	stale := c.names(func(name string) bool { return strings.HasPrefix(name, begin) && strings.HasSuffix(name, suffix) })
	for _, name := range stale {
		_ = os.Remove(filepath.Join(c.dir, name)) // it has no user any more, and only takes space
	}
	if len(stale) > 0 {
		c.warn("The model file has changed since its quantized form was cached: it is quantized anew.")
	}
}
