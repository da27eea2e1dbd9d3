package spec

import (
	"fmt"
	"strings"
)

// Special tells people what a model has beyond a plain Llama, in one line; empty: nothing.
func (s Spec) Special() string {
	var list []string
	say := func(there bool, format string, args ...any) {
		if there {
			list = append(list, fmt.Sprintf(format, args...))
		}
	}
	counted := func(has func(l Layer) bool) (n int) {
		for _, l := range s.Layers {
			if has(l) {
				n++
			}
		}
		return n
	}
	layers := func(n int) string {
		if n == len(s.Layers) {
			return "all layers"
		}
		return fmt.Sprintf("%d of %d layers", n, len(s.Layers))
	}
	first := s.Layers[0]
	window := 0
	for _, l := range s.Layers {
		window = max(window, l.Window)
	}
	say(window > 0, "%s see the last %d tokens", layers(counted(func(l Layer) bool { return l.Window > 0 })), window)
	still := counted(func(l Layer) bool { return l.RoPE == nil })
	say(still > 0, "%s know no positions", layers(still))
	for _, r := range s.Rotations() {
		say(r.Dim < first.HeadDim, "%d of %d dimensions of a head rotate", r.Dim, first.HeadDim)
		say(r.LongFactors != nil, "rotations are others beyond %d tokens", r.OriginalMaxPositions)
		say(r.QueryScaling != 0, "queries grow with their position beyond %d tokens", r.OriginalMaxPositions)
	}
	say(len(s.Rotations()) > 1, "layers rotate by %d bases", len(s.Rotations()))
	say(first.QKNorm != NoQKNorm, "queries and keys are normed")
	say(first.Norms == NormsBehind, "norms stand behind attention and MLP")
	say(first.Norms == NormsAround, "norms stand around attention and MLP")
	say(first.ScoreSoftCap > 0, "scores are capped at %v", first.ScoreSoftCap)
	say(s.LogitSoftCap > 0, "logits are capped at %v", s.LogitSoftCap)
	say(s.ResidualScale != 0 && s.ResidualScale != 1, "what layers add is scaled by %v", s.ResidualScale)
	say(first.GELU, "GELU in the place of SiLU")
	say(first.FusedQKV && first.FusedMLP, "q, k and v are one matrix, gate and up another")
	say(first.FusedMLP && !first.FusedQKV, "gate and up are one matrix")
	say(first.QKVBias && !first.OBias, "q, k and v have biases")
	say(first.OBias, "attention has biases")
	say(first.MLPBias, "the MLP has biases")
	return strings.Join(list, ", ")
}
