//go:build !js

package trainer

import (
	"context"
	"os"
	"time"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/pretrained"
)

// BenchStart loads the model at path twice, with a cache in a folder of its own that is removed afterwards. Both times the file is closed and opened anew, and the first
// counts until the cache's file is complete.
func BenchStart(ctx context.Context, dev *gpu.Device, path string, blockSize int, emit func(Event)) (*StartResult, error) {
	dir, err := os.MkdirTemp("", "qlora-wgpu-bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	start := func() (float64, error) {
		source, err := pretrained.Open(path)
		if err != nil {
			return 0, err
		}
		defer source.Close()
		began := time.Now()
		cache := quantizedCache(ctx, dir, source, emit)
		m, err := model.Load(ctx, dev, source, model.LoadOptions{BlockSize: blockSize, Cache: cache})
		cache.Close()
		if err != nil {
			return 0, err
		}
		m.Release()
		return time.Since(began).Seconds(), nil
	}
	r := &StartResult{}
	if r.FirstSeconds, err = start(); err != nil {
		return nil, err
	}
	if r.SecondSeconds, err = start(); err != nil {
		return nil, err
	}
	r.Ratio = r.SecondSeconds / r.FirstSeconds
	return r, nil
}
