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
	"qlora-wgpu/paging"
)

// architecture is how models of one architecture are made.
type architecture struct {
	load  func(ctx context.Context, dev *gpu.Device, source *pretrained.Model, o model.LoadOptions) (model.Model, error)
	shape func(shape pretrained.Config, dev *gpu.Device, blockSize int, plan *paging.Plan) (model.Model, error)
}

var known = map[string]architecture{
	"LlamaForCausalLM": {llama.Load, func(shape pretrained.Config, dev *gpu.Device, blockSize int, plan *paging.Plan) (model.Model, error) {
		return llama.New(shape, dev, blockSize, plan)
	}},
}

// Load picks the architecture and loads the model, where the plan puts it.
func Load(ctx context.Context, dev *gpu.Device, source *pretrained.Model, o model.LoadOptions) (model.Model, error) {
	a, err := find(source.Config)
	if err != nil {
		return nil, err
	}
	return a.load(ctx, dev, source, o)
}

// Shape makes a model without weights, on a dry device: what is recorded on it tells all about memory.
func Shape(shape pretrained.Config, dev *gpu.Device, blockSize int, plan *paging.Plan) (model.Model, error) {
	a, err := find(shape)
	if err != nil {
		return nil, err
	}
	return a.shape(shape, dev, blockSize, plan)
}

func find(c pretrained.Config) (architecture, error) {
	for _, name := range c.Architectures {
		if a, ok := known[name]; ok {
			return a, nil
		}
	}
	names := strings.Join(slices.Sorted(maps.Keys(known)), ", ")
	return architecture{}, usererr.New("load model", "", "architecture %s", strings.Join(c.Architectures, ", ")).Of(usererr.Unsupported).Hinted("known are: %s", names)
}
