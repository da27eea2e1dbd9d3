package architectures

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// llama.cpp rotates neighbours in heads of some architectures, and its converter puts rows that way; in the others it
// rotates halves. Source: llama_model_rope_type of its release 0.5.0.
func TestInterleaved(t *testing.T) {
	neighbours := []string{"llama", "granite", "mistral3", "smollm3"}
	halves := []string{"qwen2", "qwen3", "gemma2", "gemma3", "phi3", "olmo2"}
	for _, f := range families {
		if f.GGUF != "" {
			require.Equal(t, slices.Contains(neighbours, f.GGUF), f.Interleaved, f.GGUF)
			require.True(t, f.Interleaved || slices.Contains(halves, f.GGUF), "%s is not listed", f.GGUF)
		}
	}
}
