package spec

import (
	"fmt"
	"slices"
)

// The kinds of layers in layer_types.
const (
	fullAttention    = "full_attention"
	slidingAttention = "sliding_attention"
)

// NoWindow refuses a window that a configuration of the Qwen kind asks for: layers from max_window_layers on, or those
// that layer_types names, see no more than sliding_window tokens, but only where use_sliding_window says so. A window
// as long as the longest context hides nothing. Source: transformers' configuration_qwen2.py.
func (k *Keys) NoWindow(layers, maxPositions int) {
	uses, window, first := k.Bool("use_sliding_window", false), k.Int("sliding_window", 4096), k.Int("max_window_layers", 28)
	slides := first < layers
	if types := k.Texts("layer_types"); types != nil {
		slides = slices.Contains(types, slidingAttention)
		if slices.ContainsFunc(types, func(t string) bool { return t != fullAttention && t != slidingAttention }) {
			k.Refuse("layer_types", fullAttention+" is known, and "+slidingAttention+" where nothing slides")
		}
	}
	if value, there := k.Values["sliding_window"]; there && value == nil {
		slides = false
	}
	if uses && slides && window < maxPositions {
		k.Refuse("use_sliding_window", fmt.Sprintf("sliding_window is %d: layers that see only so many tokens are not known yet", window))
	}
}
