//go:build !js

package model

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/doublequant"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/nf4"
	"qlora-wgpu/paging"
)

// However small the parts are, their bytes are those of tensors that were quantized whole, and a part is handed over
// before the last one is begun.
func TestRegionsAreMadePartByPart(t *testing.T) {
	source, err := pretrained.Open(demotest.Model(t, 1, nil))
	require.NoError(t, err)
	defer source.Close()
	const blockSize = 64
	tensors, l := source.Spec.LayerTensors(0), newLayer(source.Spec, 0)
	linears, vectors := frozen(tensors, l.linears)
	for _, limit := range []int64{24 << 10, 40 << 10, 1 << 20} {
		layout := paging.NewLayout(limit)
		for _, lin := range l.linears {
			layout.AddLinear(lin.Weight, lin.Out, lin.In, blockSize, false)
		}
		for _, v := range vectors {
			layout.AddVector(v.weight, v.n)
		}

		wanted := layout.NewParts()
		for _, lin := range l.linears {
			n := lin.Out * lin.In
			values, packed, absmax := make([]float32, n), make([]byte, nf4.PackedLen(n)), make([]float32, nf4.Blocks(n, blockSize))
			require.NoError(t, source.ReadRows(lin.Name+".weight", 0, lin.Out, values))
			nf4.Quantize(values, blockSize, packed, absmax)
			layout.PutLinear(wanted, lin.Weight, packed, doublequant.Quantize(absmax), nil)
		}
		require.Len(t, vectors, 2)
		for _, v := range vectors {
			norm := make([]float32, v.n)
			require.NoError(t, source.ReadRows(v.tensor+".weight", 0, 1, norm))
			layout.PutVector(wanted, v.weight, norm)
		}

		var got [][]byte
		require.NoError(t, quantizer{source, blockSize}.build(layout, linears, vectors, func(data []byte) error {
			got = append(got, bytes.Clone(data))
			return nil
		}))
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
	linears, _ := frozen(source.Spec.LayerTensors(0), newLayer(source.Spec, 0).linears)
	require.Equal(t, len(linears), group(linears), "a small layer at once")
	large := *linears[0].Linear
	large.In, large.Out = 4096, 4096
	require.Equal(t, 1, group([]linear{{&large, false}, linears[0]}), "a large one alone")
	require.Equal(t, 1, group([]linear{linears[0], {&large, false}}))
}
