//go:build !js

package adapters

import (
	"context"
	"path/filepath"

	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/host"
)

// Find opens an adapter by its path, or where there is none by its name on the hub. Errors are Open's, and ctx's.
func Find(ctx context.Context, name string, emit func(events.Event)) (*Adapter, error) {
	path, err := host.FindAdapter(ctx, name, emit)
	if err != nil {
		return nil, err
	}
	return Open(checkpoint.Files{}, filepath.ToSlash(path))
}
