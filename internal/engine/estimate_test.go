//go:build !js

package engine

import (
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/paging"
)

// An estimate knows layers whose linears are kept otherwise than those of the first ones, which a quantized model's
// files may have anywhere.
func TestAnEstimateOfLayersThatDiffer(t *testing.T) {
	shape, known := pretrained.Shape("smollm2-135m")
	require.True(t, known)
	shape = shape.WithLayers(7)
	estimated := func() (estimate, planned int64) {
		c := settings.Default[settings.Train]()
		c.MaxSeqLength, c.BatchSize = 32, 1
		d := TrainingDemand(shape, c)
		peak := func(p *paging.Plan) int64 { return p.Peak }
		estimate, err := d.Estimate(gpu.NewDryDiscrete(), peak)
		require.NoError(t, err)
		p, err := d.Plan(gpu.NewDryDiscrete(), 0)
		require.NoError(t, err)
		return estimate, p.Peak
	}
	estimate, all := estimated()
	require.InDelta(t, all, estimate, 64<<10)

	shape.Quantized = map[string]spec.Quantized{}
	for _, tensor := range shape.Tensors() {
		if tensor.Role == spec.Matrix && tensor.Layer < 5 {
			shape.Quantized[tensor.Name] = spec.Quantized{BlockSize: 64, Double: true}
		}
	}
	estimate, mixed := estimated()
	require.InDelta(t, mixed, estimate, 64<<10)
	layer := shape.WithLayers(1).Parameters() - int64(shape.Vocab*shape.Hidden)
	require.InDelta(t, all+2*layer*3/2, mixed, float64(layer)/20, "two layers take 2 bytes a weight instead of half a one")
}
