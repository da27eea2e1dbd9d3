//go:build !js

package bench

import (
	"context"
	"os"
	"time"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/settings"
)

// StartResult compares loading a model for the first time, which quantizes it, with the second, from the cache.
type StartResult struct {
	FirstSeconds  float64 `json:"first_seconds"`
	SecondSeconds float64 `json:"second_seconds"`
	Ratio         float64 `json:"ratio"`
}

// Start loads the model at path twice, with a cache in a folder of its own that is removed afterwards. Both times the
// file is closed and opened anew, and the first counts until the cache's file is complete.
func Start(ctx context.Context, dev *gpu.Device, path string, c settings.Quantization, emit func(events.Event)) (*StartResult, error) {
	dir, err := os.MkdirTemp("", "qlora-wgpu-bench")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if path, err = host.FindModel(ctx, path, emit); err != nil {
		return nil, err
	}
	start := func() (float64, error) {
		source, err := pretrained.Open(path)
		if err != nil {
			return 0, err
		}
		defer source.Close()
		began := time.Now()
		cache := host.Quantized(ctx, dir, source, emit)
		m, err := model.Load(ctx, dev, source, model.LoadOptions{Format: engine.FormatsOf(source.Spec, c), Cache: cache})
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
