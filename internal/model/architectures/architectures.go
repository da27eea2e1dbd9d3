// Package architectures is the explicit map from the names in a config.json to the code that runs them.
package architectures

import (
	"context"
	"maps"
	"slices"
	"strings"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/model/llama"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/usererr"
)

// Loader loads a model of one architecture.
type Loader func(ctx context.Context, dev *gpu.Device, source *pretrained.Model, o model.LoadOptions) (model.Model, error)

var loaders = map[string]Loader{
	"LlamaForCausalLM": llama.Load,
}

// Load picks the architecture and loads the model.
func Load(ctx context.Context, dev *gpu.Device, source *pretrained.Model, o model.LoadOptions) (model.Model, error) {
	for _, name := range source.Config.Architectures {
		if load := loaders[name]; load != nil {
			return load(ctx, dev, source, o)
		}
	}
	known := strings.Join(slices.Sorted(maps.Keys(loaders)), ", ")
	return nil, usererr.New("load model", "", "architecture %s", strings.Join(source.Config.Architectures, ", ")).Of(usererr.Unsupported).Hinted("known are: %s", known)
}
