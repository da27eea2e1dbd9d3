//go:build !js

// Package host is what the engine needs of the computer that it runs on: cache folders, memory, processor time.
package host

import (
	"context"
	"os"
	"path/filepath"
	"strconv"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/nf4cache"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/usererr"
)

// CacheFolder is the one that the user named, or one under the user's cache folder; empty where the system has none.
func CacheFolder(named string) string {
	if named != "" {
		return named
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "qlora-wgpu")
}

// Measurements keeps what was measured on devices in a folder.
type Measurements string

// MeasurementsIn is the folder of measurements that the user named, or the user's own; nil where the system has none.
func MeasurementsIn(named string) interface {
	Load(name string) ([]byte, error)
	Save(name string, data []byte) error
} {
	if dir := CacheFolder(named); dir != "" {
		return Measurements(dir)
	}
	return nil
}

// maxMeasurements is more bytes than are ever measured of a device.
const maxMeasurements = 16 << 20

// Load reads what was saved under a name.
func (m Measurements) Load(name string) ([]byte, error) {
	return checkpoint.ReadBytes(checkpoint.Files{}, filepath.Join(string(m), name), maxMeasurements)
}

// Save replaces what was saved under a name.
func (m Measurements) Save(name string, data []byte) error {
	if err := os.MkdirAll(string(m), 0o777); err != nil {
		return err
	}
	return checkpoint.WriteBytes(checkpoint.Files{}, filepath.Join(string(m), name), data)
}

const quantizedFolder = "nf4"

// Quantized keeps quantized models below a cache folder.
func Quantized(ctx context.Context, dir string, source *pretrained.Model, emit func(events.Event)) *nf4cache.Cache {
	warn := func(message string) { emit(events.Warning{Message: message}) }
	info := func(message string) { emit(events.Info{Message: message}) }
	return nf4cache.New(ctx, filepath.Join(dir, quantizedFolder), nf4cache.DefaultLimit, source, warn, info)
}

// QuantizedModels lists the quantized models below the cache folder, the least recently used first; an empty name is
// the user's.
func QuantizedModels(named string) (dir string, models []nf4cache.Entry, err error) {
	if dir = CacheFolder(named); dir == "" {
		return "", nil, usererr.New("list cache", "", "this system has no cache folder").Hinted("--cache-dir names one")
	}
	dir = filepath.Join(dir, quantizedFolder)
	if models, err = nf4cache.List(dir); err != nil {
		return "", nil, usererr.New("list cache", dir, "%w", err)
	}
	return dir, models, nil
}

// SubmitScale is the supervisor's wish for shorter submissions after the driver killed a run; 0: none.
func SubmitScale() float64 {
	if scale, err := strconv.ParseFloat(os.Getenv("QLORA_SUBMIT_SCALE"), 64); err == nil && scale > 0 && scale < 1 {
		return scale
	}
	return 0
}
