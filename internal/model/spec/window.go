package spec

import "slices"

// The kinds of layers in layer_types.
const (
	fullAttention    = "full_attention"
	slidingAttention = "sliding_attention"
)

// Window is how many tokens a query sees, itself among them, in layers that slide; 0, which null and a window as long
// as the longest context are too: all.
func (k *Keys) Window(fallback, maxPositions int) int {
	if value, there := k.Values["sliding_window"]; there && value == nil {
		return 0
	}
	if fallback == 0 && k.Values["sliding_window"] == nil {
		return 0
	}
	window := k.Positions("sliding_window", fallback)
	if window >= maxPositions {
		return 0
	}
	return window
}

// Slides tells which layers slide: those that layer_types names so, and where there is none those of which otherwise
// is true.
func (k *Keys) Slides(layers int, otherwise func(layer int) bool) []bool {
	types, slides := k.Texts("layer_types"), make([]bool, layers)
	if types != nil && len(types) < layers {
		k.Refuse("layer_types", "it has to name the type of every layer")
		return slides
	}
	if slices.ContainsFunc(types, func(t string) bool { return t != fullAttention && t != slidingAttention }) {
		k.Refuse("layer_types", fullAttention+" and "+slidingAttention+" are known")
	}
	for i := range slides {
		if types != nil {
			slides[i] = types[i] == slidingAttention
		} else {
			slides[i] = otherwise(i)
		}
	}
	return slides
}

// QwenWindows gives layers the windows that a configuration of the Qwen kind asks for: from max_window_layers on, or
// those that layer_types names, but only where use_sliding_window says so. Source: transformers'
// configuration_qwen2.py.
func (k *Keys) QwenWindows(s *Spec) {
	window, first := k.Window(4096, s.MaxPositions), k.Int("max_window_layers", 28)
	slides := k.Slides(len(s.Layers), func(layer int) bool { return layer >= first })
	if !k.Bool("use_sliding_window", false) {
		return
	}
	for i := range s.Layers {
		if slides[i] {
			s.Layers[i].Window = window
		}
	}
}
