//go:build !js

package engine

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/frozen"
	"qlora-wgpu/internal/model/spec"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/lora"
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

// Of Gemma 3's layers five of six keep the last 1,024 tokens, and the 256 that pass at once: the plan of answers counts
// that.
func TestAPlanOfAnswersKnowsLayersThatSlide(t *testing.T) {
	shape, known := pretrained.Shape("gemma-3-4b")
	require.True(t, known)
	whole := shape
	whole.Layers = slices.Clone(shape.Layers)
	for i := range whole.Layers {
		whole.Layers[i].Window = 0
	}
	const row, mib = 4 * 256 * 4, 1 << 20 // bytes of a token's keys in a layer
	for tokens, most := range map[int]float64{8192: 0.29, 32768: 0.19} {
		var keys, peaks [2]int64
		for i, s := range []spec.Spec{whole, shape} {
			d := Demand{Shape: s, Format: frozen.NF4(64), AnswerTokens: tokens}
			p, err := d.Plan(gpu.NewDryDiscrete(), 0)
			require.NoError(t, err)
			peaks[i] = p.Peak
			keys[i], err = d.KeysAndValues(gpu.NewDryDiscrete())
			require.NoError(t, err)
		}
		require.EqualValues(t, 34*2*row*tokens, keys[0])
		require.EqualValues(t, 5*2*row*tokens+29*2*row*(1024+256)+row*1024, keys[1])
		const seen = 2 * 4 * prefillChunk // which tokens see each other through the window
		require.Equal(t, keys[0]-keys[1]-seen, peaks[0]-peaks[1])
		require.Less(t, float64(keys[1]), most*float64(keys[0]))
		t.Logf("%d tokens: %d MiB of keys and values, %d MiB without windows", tokens, keys[1]/mib, keys[0]/mib)
	}
}

func TestTheAdapterOfAWrappedModelIsForTheWrapper(t *testing.T) {
	shape, _ := pretrained.Shape("gemma-3-4b")
	require.Empty(t, TrainingDemand(shape, settings.Default[settings.Train]()).Adapter.Within)
	shape.Wrapper = "Gemma3ForConditionalGeneration"
	require.Equal(t, lora.Wrapped, TrainingDemand(shape, settings.Default[settings.Train]()).Adapter.Within)
}
