package pretrained

import (
	"fmt"
	"math"

	"qlora-wgpu/internal/usererr"
)

// Config holds the keys of Hugging Face's config.json that the Llama family needs, filled from a GGUF's metadata alike.
type Config struct {
	Architectures         []string
	ModelType             string
	HiddenSize            int
	IntermediateSize      int
	NumHiddenLayers       int
	NumAttentionHeads     int
	NumKeyValueHeads      int
	HeadDim               int
	VocabSize             int
	MaxPositionEmbeddings int
	RMSNormEps            float64
	RopeTheta             float64
	RopeScaling           *RopeScaling // nil: none
	// RopeFactors divide the rotary frequencies one by one, HeadDim/2 of them; nil: none. Only GGUF files have them: llama.cpp
	// stores Llama 3's scaling as the tensor rope_freqs.weight.
	RopeFactors       []float32
	TieWordEmbeddings bool
	AttentionBias     bool
	MLPBias           bool
	HiddenAct         string
	BosTokenID        int   // -1: none
	EosTokenIDs       []int // empty: none
	PadTokenID        int   // -1: none
}

// RopeScaling says how rotary frequencies are stretched for longer contexts. Type is "linear" (Factor only) or "llama3".
type RopeScaling struct {
	Type                          string
	Factor                        float64
	LowFreqFactor, HighFreqFactor float64
	OriginalMaxPositionEmbeddings int
}

// Dimensions above these belong to no model and would overflow products of two of them.
const (
	maxDimension = 1 << 24
	maxPositions = 1 << 30
)

// validate checks what holds for every model of the family; the path is the file's that the error names.
func (c *Config) validate(path string) error {
	invalid := func(format string, args ...any) error {
		return usererr.New(op, path, "%w", fmt.Errorf(format, args...)).Of(usererr.Format)
	}
	for _, d := range []struct {
		key          string
		value, limit int
	}{
		{"hidden_size", c.HiddenSize, maxDimension}, {"intermediate_size", c.IntermediateSize, maxDimension},
		{"num_hidden_layers", c.NumHiddenLayers, 1 << 16}, {"num_attention_heads", c.NumAttentionHeads, 1 << 16},
		{"num_key_value_heads", c.NumKeyValueHeads, 1 << 16}, {"head_dim", c.HeadDim, 1 << 16},
		{"vocab_size", c.VocabSize, maxDimension}, {"max_position_embeddings", c.MaxPositionEmbeddings, maxPositions},
	} {
		if d.value < 1 || d.value > d.limit {
			return invalid("%s is %d, it must lie in 1 to %d", d.key, d.value, d.limit)
		}
	}
	switch {
	case c.NumAttentionHeads%c.NumKeyValueHeads != 0:
		return invalid("num_attention_heads %d is no multiple of num_key_value_heads %d", c.NumAttentionHeads, c.NumKeyValueHeads)
	case c.HeadDim%2 != 0:
		return invalid("head_dim %d is odd, rotary embeddings turn pairs", c.HeadDim)
	case c.NumAttentionHeads*c.HeadDim > maxDimension:
		return invalid("num_attention_heads %d times head_dim %d is above %d", c.NumAttentionHeads, c.HeadDim, maxDimension)
	case !(c.RMSNormEps > 0 && c.RMSNormEps < 1):
		return invalid("rms_norm_eps is %v, it must lie between 0 and 1", c.RMSNormEps)
	case !(c.RopeTheta > 0) || math.IsInf(c.RopeTheta, 0):
		return invalid("rope_theta is %v, it must be positive", c.RopeTheta)
	case c.RopeFactors != nil && len(c.RopeFactors) != c.HeadDim/2:
		return invalid("there are %d rope factors for head_dim %d", len(c.RopeFactors), c.HeadDim)
	}
	for i, f := range c.RopeFactors {
		if !(f > 0) || math.IsInf(float64(f), 0) {
			return invalid("rope factor %d is %v, it must be positive", i, f)
		}
	}
	for _, id := range append([]int{c.BosTokenID, c.PadTokenID}, c.EosTokenIDs...) {
		if id < -1 || id >= c.VocabSize {
			return invalid("token id %d lies outside the vocabulary of %d", id, c.VocabSize)
		}
	}
	return c.RopeScaling.validate(path)
}

func (s *RopeScaling) validate(path string) error {
	if s == nil {
		return nil
	}
	positive := func(x float64) bool { return x > 0 && !math.IsInf(x, 0) }
	switch s.Type {
	case "linear":
	case "llama3":
		if !positive(s.LowFreqFactor) || !positive(s.HighFreqFactor) || s.HighFreqFactor <= s.LowFreqFactor ||
			s.OriginalMaxPositionEmbeddings < 1 || s.OriginalMaxPositionEmbeddings > maxPositions {
			return usererr.New(op, path, "rope scaling llama3 has low_freq_factor %v, high_freq_factor %v, original_max_position_embeddings %d",
				s.LowFreqFactor, s.HighFreqFactor, s.OriginalMaxPositionEmbeddings).Of(usererr.Format)
		}
	default:
		return usererr.New(op, path, "rope scaling of type %q", s.Type).Of(usererr.Unsupported).
			Hinted("default, linear and llama3 are known")
	}
	if !positive(s.Factor) {
		return usererr.New(op, path, "rope scaling has factor %v, it must be positive", s.Factor).Of(usererr.Format)
	}
	return nil
}
