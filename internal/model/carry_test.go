//go:build !js

package model

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/frozen"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/paging"
)

// What is quantized already lies in regions as if it were quantized on loading: the same bytes in blocks of every size,
// however small the parts are. The 16-bit model's regions are the yardstick, which TestNF4RegionsKeepTheirBytes holds.
func TestA4BitModelIsCarriedOver(t *testing.T) {
	for _, block := range []int{32, 64, 512, 4096} {
		for _, double := range []bool{true, false} {
			t.Run(fmt.Sprint(block, " ", double), func(t *testing.T) {
				folder := demotest.Model(t, 1, nil)
				source, err := pretrained.Open(folder)
				require.NoError(t, err)
				defer source.Close()
				format := frozen.NF4Single(block)
				if double {
					format = frozen.NF4(block)
				}
				want := regions(t, source, format)
				demotest.Quantize(t, folder, block, double)
				stored, err := pretrained.Open(folder)
				require.NoError(t, err)
				defer stored.Close()
				got := regions(t, stored, format)
				require.Equal(t, len(want), len(got))
				for i := range want {
					require.True(t, bytes.Equal(want[i], got[i]), "part %d", i)
				}
			})
		}
	}
}

// regions are all parts of the first layer, small ones and one large one.
func regions(t *testing.T, source *pretrained.Model, format frozen.Format) (all [][]byte) {
	tensors, l := source.Spec.LayerTensors(0), newLayer(source.Spec, 0)
	linears, vectors := inRegion(tensors, l.linears)
	for _, limit := range []int64{48 << 10, 1 << 20} {
		layout := paging.NewLayout(format, limit)
		for _, lin := range l.linears {
			layout.AddLinear(lin.Weight, format, lin.Out, lin.In, false)
		}
		for _, v := range vectors {
			layout.AddVector(v.weight, v.n)
		}
		require.NoError(t, quantizer{source, format}.build(t.Context(), layout, linears, vectors, func(data []byte) error {
			all = append(all, bytes.Clone(data))
			return nil
		}))
	}
	require.Greater(t, len(all), 3, "parts are cut")
	return all
}

// An absmax that is not finite is named, as a weight is: it would make every loss one.
func TestAnAbsmaxThatIsNotFiniteIsNamed(t *testing.T) {
	folder := demotest.Model(t, 1, nil)
	demotest.Quantize(t, folder, 64, false)
	demotest.Overwrite(t, folder, "model.layers.0.mlp.up_proj.weight.absmax", 4*5, []byte{0, 0, 0x80, 0x7f})
	source, err := pretrained.Open(folder)
	require.NoError(t, err)
	defer source.Close()
	_, err = Load(t.Context(), gpu.NewDry(gpu.Options{}), source, LoadOptions{Format: frozen.NF4Single(64)})
	require.ErrorContains(t, err,
		"load model.layers.0.mlp.up_proj.weight: bad format: absmax 5 is +Inf (the model file is damaged")
}
