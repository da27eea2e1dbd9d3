//go:build !js

package gpu

import (
	"errors"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/usererr"
)

func adapter(name, vendor, backend, kind string) AdapterInfo {
	return AdapterInfo{Name: name, Vendor: vendor, Backend: backend, Type: kind}
}

func numbered(infos ...AdapterInfo) []AdapterInfo {
	for i := range infos {
		infos[i].Index = i
	}
	return infos
}

// A laptop with two cards on Windows, each offered by two back ends, and two software devices.
var offered = numbered(
	adapter("llvmpipe (LLVM 15.0.6, 256 bits)", "0x10005:0x0", "vulkan", "cpu"),
	adapter("Intel(R) UHD Graphics", "0x8086:0x9b41", "vulkan", "integrated"),
	adapter("GeForce RTX 3050", "0x10de:0x25a2", "vulkan", "discrete"),
	adapter("NVIDIA GeForce RTX 3050", "0x10de:0x25a2", "d3d12", "discrete"),
	adapter("Intel(R) UHD Graphics", "0x0:0x0", "d3d12", "integrated"),
	adapter("Microsoft Basic Render Driver", "0x1414:0x8c", "d3d12", "cpu"),
)

func indices(infos []AdapterInfo) (at []int) {
	for _, info := range infos {
		at = append(at, info.Index)
	}
	return at
}

func TestOrderOfAdapters(t *testing.T) {
	for want, order := range map[string][]int{
		"":       {2, 3, 1, 4, 0, 5}, // card by card, software last
		"3":      {3},                // an index means that one alone
		"rtx":    {2, 3},
		"nvidia": {3},
		"uhd":    {1, 4},
		"e":      {0}, // the first that has it, and no other card
		"basic":  {5},
	} {
		found, err := candidates(offered, want)
		require.NoError(t, err)
		require.Equal(t, order, indices(found), want)
	}
	_, err := candidates(offered, "radeon")
	require.ErrorAs(t, err, new(*usererr.Error))
	_, err = candidates(offered, "9999")
	require.ErrorContains(t, err, "2: GeForce RTX 3050")

	// A back end may call a card another kind of device than its neighbour does, or leave out the ids.
	found, err := candidates(numbered(
		adapter("Radeon Pro", "0x0:0x0", "vulkan", "unknown"), adapter("Other", "0x0:0x0", "vulkan", "integrated"),
		adapter("Radeon Pro", "0x1002:0x1", "d3d12", "discrete"),
	), "")
	require.NoError(t, err)
	require.Equal(t, []int{2, 0, 1}, indices(found))
}

func TestSoftwareByName(t *testing.T) {
	require.Equal(t, "cpu", kindOf("llvmpipe (LLVM 15.0.6, 256 bits)", "integrated"))
	require.Equal(t, "cpu", kindOf("Microsoft Basic Render Driver", "discrete"))
	require.Equal(t, "integrated", kindOf("Intel(R) UHD Graphics", "integrated"))
	require.Equal(t, "cpu", kindOf("somebody's", "cpu"))
}

func TestPassingOver(t *testing.T) {
	wrong := usererr.New("check device", "", "it computes nonsense")
	var opened, asked, passed []int
	open := func(fails ...int) func(AdapterInfo) (*Device, error) {
		opened, asked, passed = nil, nil, nil
		return func(info AdapterInfo) (*Device, error) {
			opened = append(opened, info.Index)
			for _, i := range fails {
				if i == info.Index {
					return nil, errors.New("the driver does not open it")
				}
			}
			dev := NewDry(Options{})
			dev.Info = info
			return dev, nil
		}
	}
	fits := func(verdict map[int]error) Choice {
		return Choice{
			Fits: func(d *Device) error {
				asked = append(asked, d.Info.Index)
				return verdict[d.Info.Index]
			},
			PassedOver: func(info AdapterInfo, reason error, next AdapterInfo) {
				require.Error(t, reason)
				passed = append(passed, info.Index, next.Index)
			},
		}
	}
	all, err := candidates(offered, "")
	require.NoError(t, err)

	dev, err := choose(t.Context(), all, fits(nil), open())
	require.NoError(t, err)
	require.Equal(t, 2, dev.Info.Index)
	require.Equal(t, []int{2}, asked)
	require.Empty(t, passed)

	dev, err = choose(t.Context(), all, fits(map[int]error{2: wrong}), open())
	require.NoError(t, err)
	require.Equal(t, 3, dev.Info.Index, "the same card by the other back end, before the other card")
	require.Equal(t, []int{2, 3}, passed)

	dev, err = choose(t.Context(), all, fits(map[int]error{3: wrong}), open(2))
	require.NoError(t, err)
	require.Equal(t, 1, dev.Info.Index)
	require.Equal(t, []int{2, 3, 3, 1}, passed)

	// Nothing is asked about the last one.
	named, err := candidates(offered, "3")
	require.NoError(t, err)
	dev, err = choose(t.Context(), named, fits(map[int]error{3: wrong}), open())
	require.NoError(t, err)
	require.Equal(t, 3, dev.Info.Index)
	require.Empty(t, asked)
	_, err = choose(t.Context(), named, fits(nil), open(3))
	require.ErrorContains(t, err, "the driver does not open it")

	// What says nothing against the device ends it.
	full := errors.New("other programs fill the device")
	_, err = choose(t.Context(), all, fits(map[int]error{2: full}), open())
	require.ErrorIs(t, err, full)
	require.Equal(t, []int{2}, opened)
	require.Empty(t, passed)

	dev, err = choose(t.Context(), all, Choice{}, open())
	require.NoError(t, err)
	require.Equal(t, 2, dev.Info.Index)
	_, err = choose(t.Context(), all, Choice{}, open(2))
	require.Error(t, err)
}
