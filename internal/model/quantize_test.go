//go:build !js

package model

import (
	"bytes"
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/frozen"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/paging"
)

// However small the parts are, their bytes are those of tensors that were written whole, and a part is handed over
// before the last one is begun.
func TestRegionsAreMadePartByPart(t *testing.T) {
	for _, format := range []frozen.Format{frozen.NF4(64), frozen.BFloat16, frozen.Float32} {
		t.Run(format.Key(), func(t *testing.T) { madePartByPart(t, format) })
	}
}

func madePartByPart(t *testing.T, format frozen.Format) {
	source, err := pretrained.Open(demotest.Model(t, 1, nil))
	require.NoError(t, err)
	defer source.Close()
	tensors, l := source.Spec.LayerTensors(0), newLayer(source.Spec, 0)
	linears, vectors := inRegion(tensors, l.linears)
	for _, limit := range []int64{24 << 10, 40 << 10, 1 << 20} {
		layout := paging.NewLayout(format, limit)
		for _, lin := range l.linears {
			layout.AddLinear(lin.Weight, format, lin.Out, lin.In, false)
		}
		for _, v := range vectors {
			layout.AddVector(v.weight, v.n)
		}

		wanted := layout.NewParts()
		for _, lin := range l.linears {
			values, w := make([]float32, lin.Out*lin.In), layout.Writer(wanted, lin.Weight)
			require.NoError(t, source.ReadRows(lin.Name+".weight", 0, lin.Out, values))
			require.Negative(t, w.Rows(0, values))
			w.Finish(nil)
		}
		require.Len(t, vectors, 2)
		for _, v := range vectors {
			norm := make([]float32, v.n)
			require.NoError(t, source.ReadRows(v.tensor+".weight", 0, 1, norm))
			layout.PutVector(wanted, v.weight, norm)
		}

		var got [][]byte
		require.NoError(t, quantizer{source, format}.build(t.Context(), layout, linears, vectors, func(data []byte) error {
			got = append(got, bytes.Clone(data))
			return nil
		}))
		cancelled, cancel := context.WithCancel(t.Context())
		cancel()
		require.ErrorIs(t, quantizer{source, format}.build(cancelled, layout, linears, vectors, func([]byte) error {
			require.Fail(t, "a part was made")
			return nil
		}), context.Canceled)
		require.Len(t, got, len(wanted))
		for i := range wanted {
			require.True(t, bytes.Equal(wanted[i], got[i]), "part %d of %d bytes at most", i, limit)
		}
	}
}

func TestGroupsOfLinears(t *testing.T) {
	source, err := pretrained.Open(demotest.Model(t, 1, nil))
	require.NoError(t, err)
	defer source.Close()
	q := quantizer{source, frozen.NF4(64)}
	linears, _ := inRegion(source.Spec.LayerTensors(0), newLayer(source.Spec, 0).linears)
	require.Equal(t, len(linears), q.group(linears), "a small layer at once")
	large := *linears[0].Linear
	large.In, large.Out = 4096, 4096
	require.Equal(t, 1, q.group([]linear{{&large, false}, linears[0]}), "a large one alone")
	require.Equal(t, 1, q.group([]linear{linears[0], {&large, false}}))
}

// A norm's weight that is not finite is named as a linear's is: it would make every loss one.
func TestAVectorThatIsNotFiniteIsNamed(t *testing.T) {
	folder := demotest.Model(t, 1, nil)
	const norm = "model.layers.0.input_layernorm.weight"
	demotest.Overwrite(t, folder, norm, 2*3, []byte{0xff, 0x7f}) // NaN in 16 bits, of either kind
	source, err := pretrained.Open(folder)
	require.NoError(t, err)
	defer source.Close()
	_, err = Load(t.Context(), gpu.NewDry(gpu.Options{}), source, LoadOptions{Format: frozen.NF4(64)})
	require.ErrorContains(t, err, "load "+norm+": bad format: element [3] is NaN (the model file is damaged")
}
