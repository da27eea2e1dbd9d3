package spec_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/pretrained"
)

func TestEachFamilyTellsWhatIsSpecialAboutIt(t *testing.T) {
	for name, want := range map[string]string{
		"llama-3.1-8b":    "",
		"qwen2.5-0.5b":    "q, k and v have biases",
		"qwen3-0.6b":      "queries and keys are normed",
		"mistral-7b-v0.1": "all layers see the last 4096 tokens",
		"gemma-2-2b": "13 of 26 layers see the last 4096 tokens, norms stand around attention and MLP, scores are capped at 50, " +
			"logits are capped at 30, GELU in the place of SiLU",
		"gemma-3-1b": "22 of 26 layers see the last 512 tokens, layers rotate by 2 bases, queries and keys are normed, " +
			"norms stand around attention and MLP, GELU in the place of SiLU",
		"ministral-3-8b": "queries grow with their position beyond 16384 tokens",
		"phi-4-mini":     "96 of 128 dimensions of a head rotate, q, k and v are one matrix, gate and up another",
		"smollm3-3b":     "9 of 36 layers know no positions",
		"granite-3.3-2b": "what layers add is scaled by 0.22",
		"olmo-2-1b":      "queries and keys are normed, norms stand behind attention and MLP",
	} {
		shape, known := pretrained.Shape(name)
		require.True(t, known, name)
		require.Equal(t, want, shape.Special(), name)
	}
}
