//go:build !js

package datacache

import (
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/files"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/version"
)

const (
	knownFile  = "files.json"
	knownLimit = 256 // files
	maxKnown   = 16 << 20
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

func (s *Store) readKnown() (list []known) {
	data, err := files.Read(filepath.Join(s.dir, knownFile), maxKnown)
	if err != nil || json.Unmarshal(data, &list) != nil {
		return nil // files are read again
	}
	return slices.DeleteFunc(list, func(k known) bool { return k.Facts.Rows < 1 || len(k.Facts.Hash) != 64 })
}

// Recall implements dataset.Known.
func (s *Store) Recall(path string, info fs.FileInfo, columns settings.Columns) *dataset.Facts {
	now, ok := knownOf(path, info, columns)
	if !ok {
		return nil
	}
	for _, k := range s.readKnown() {
		if k.same(now) {
			return &k.Facts
		}
	}
	return nil
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
	list := slices.DeleteFunc(s.readKnown(), func(old known) bool {
		return old.Path == now.Path && reflect.DeepEqual(old.Columns, now.Columns)
	})
	list = append([]known{now}, list...)
	data, err := json.MarshalIndent(list[:min(len(list), knownLimit)], "", "  ")
	if err != nil || os.MkdirAll(s.dir, 0o777) != nil {
		return
	}
	_ = checkpoint.WriteBytes(checkpoint.Files{}, filepath.Join(s.dir, knownFile), data)
}
