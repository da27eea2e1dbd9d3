//go:build !js

package gpu

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"qlora-wgpu/internal/usererr"
)

// softwareNames are parts of the names of software devices, some of which a back end takes for graphics in the
// processor.
var softwareNames = []string{"llvmpipe", "lavapipe", "swiftshader", "microsoft basic render"}

// kindOf is the type of an adapter: what the back end says, unless the name says that it is software.
func kindOf(name, said string) string {
	for _, software := range softwareNames {
		if strings.Contains(strings.ToLower(name), software) {
			return "cpu"
		}
	}
	return said
}

// noVendor is what a back end says that tells no PCI ids.
const noVendor = "0x0:0x0"

// sameCard tells whether two adapters are one card that two back ends offer.
func (a AdapterInfo) sameCard(b AdapterInfo) bool {
	return a.Name == b.Name || a.Vendor == b.Vendor && a.Vendor != noVendor
}

// candidates are the adapters that Open may take, in the order in which it tries them. An index names one. A part of a
// name means the first adapter that has it, as any back end offers it. Otherwise all are: discrete before integrated,
// software last, and what other back ends offer of a card right after it.
func candidates(infos []AdapterInfo, want string) ([]AdapterInfo, error) {
	if want == "" {
		return ranked(infos), nil
	}
	if i, err := strconv.Atoi(want); err == nil && i >= 0 && i < len(infos) {
		return infos[i : i+1], nil
	}
	var named []AdapterInfo
	var names []string
	for i, info := range infos {
		names = append(names, fmt.Sprintf("%d: %s", i, info.Name))
		if strings.Contains(strings.ToLower(info.Name), strings.ToLower(want)) && (named == nil || named[0].sameCard(info)) {
			named = append(named, info)
		}
	}
	if named == nil {
		return nil, usererr.New("open device", "", "no adapter matches %q", want).Hinted("there are %s", strings.Join(names, ", "))
	}
	return named, nil
}

func ranked(infos []AdapterInfo) []AdapterInfo {
	kinds := []string{"discrete", "integrated", "unknown", "cpu"}
	left := slices.Clone(infos)
	slices.SortStableFunc(left, func(a, b AdapterInfo) int { return slices.Index(kinds, a.Type) - slices.Index(kinds, b.Type) })
	var order []AdapterInfo
	for len(left) > 0 {
		card, others := left[0], left[:0:0]
		for _, info := range left {
			if info.sameCard(card) && info.Type != "cpu" || info.Index == card.Index {
				order = append(order, info)
			} else {
				others = append(others, info)
			}
		}
		left = others
	}
	return order
}

// choose opens the first candidate that fits.
func choose(ctx context.Context, order []AdapterInfo, c Choice, open func(AdapterInfo) (*Device, error)) (*Device, error) {
	for i, info := range order {
		dev, err := open(info)
		last := i+1 == len(order)
		if last || c.Fits == nil {
			return dev, err
		}
		if err == nil {
			if err = c.Fits(dev); err == nil {
				return dev, nil
			}
			if dev.Lost() == nil { // otherwise releasing may wait forever
				dev.Release()
			}
			if unfit := (*usererr.Error)(nil); !errors.As(err, &unfit) {
				return nil, err
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		c.PassedOver(info, err, order[i+1])
	}
	return nil, NoAdapter
}
