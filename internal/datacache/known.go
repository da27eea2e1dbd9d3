//go:build !js

package datacache

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/files"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/version"
)

// A file's record has a file of its own: a data set may be tens of thousands of them.
const (
	knownFolder = "files"
	maxKnown    = 1 << 20
)

// known is a file as it was when it was read.
type known struct {
	Path    string           `json:"path"`
	Size    int64            `json:"size"`
	Changed int64            `json:"changed"` // nanoseconds since 1970
	Number  uint64           `json:"number"`  // in its file system; 0 where there is none
	Columns settings.Columns `json:"columns"`
	Program version.Build    `json:"program"` // that read it
	Facts   dataset.Facts    `json:"facts"`
}

func knownOf(path string, info fs.FileInfo, columns settings.Columns) (known, bool) {
	full, err := filepath.Abs(path)
	k := known{full, info.Size(), info.ModTime().UnixNano(), files.Number(info), columns, version.Of(), dataset.Facts{}}
	return k, err == nil
}

// same tells whether both are of one file as it stands, read in the same way.
func (k known) same(other known) bool {
	k.Facts, other.Facts = dataset.Facts{}, dataset.Facts{}
	return reflect.DeepEqual(k, other)
}

// record is the name of what is known of a file that is read in this way.
func (s *Store) record(k known) string {
	columns, _ := json.Marshal(k.Columns) // they are texts and a truth
	sum := sha256.Sum256(append(columns, k.Path...))
	return filepath.Join(s.dir, knownFolder, hex.EncodeToString(sum[:20])+".json")
}

// Recall implements dataset.Known.
func (s *Store) Recall(path string, info fs.FileInfo, columns settings.Columns) *dataset.Facts {
	now, ok := knownOf(path, info, columns)
	if !ok {
		return nil
	}
	var k known
	data, err := files.Read(s.record(now), maxKnown)
	if err != nil || json.Unmarshal(data, &k) != nil || !k.same(now) || k.Facts.Rows < 1 || len(k.Facts.Hash) != 64 {
		return nil // the file is read
	}
	return &k.Facts
}

// settled is how old a change must be: a file that is still being written can change once more within the clock's tick.
const settled = 2 * time.Second

// Remember implements dataset.Known. If it fails, the file is read again.
func (s *Store) Remember(path string, info fs.FileInfo, columns settings.Columns, f dataset.Facts) {
	now, ok := knownOf(path, info, columns)
	if !ok || time.Since(info.ModTime()) < settled {
		return
	}
	now.Facts = f
	name := s.record(now)
	data, err := json.Marshal(now)
	if err != nil || os.MkdirAll(filepath.Dir(name), 0o777) != nil {
		return
	}
	_ = checkpoint.WriteBytes(checkpoint.Files{}, name, data)
}
