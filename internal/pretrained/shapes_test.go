package pretrained

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// The model cards tell how many parameters a model has, in billions; of Gemma 3 from 4B on, the language model alone.
func TestShapesHaveAsManyParametersAsTheirModelCardsSay(t *testing.T) {
	published := map[string]float64{
		"smollm2-135m": 0.135, "llama-3.2-1b": 1.24, "llama-3.1-8b": 8.03, "llama-3.3-70b": 70.6, "qwen2.5-7b": 7.62, "qwen3-0.6b": 0.6,
		"qwen3-32b": 32.8, "mistral-7b-v0.1": 7.24, "mistral-7b": 7.25, "mistral-nemo-12b": 12.2, "mistral-small-24b": 23.6,
		"gemma-2-2b": 2.61, "gemma-2-9b": 9.24, "gemma-2-27b": 27.2, "gemma-3-270m": 0.268, "gemma-3-1b": 1.0, "gemma-3-4b": 3.88,
		"gemma-3-12b": 11.8, "gemma-3-27b": 27, "phi-3-mini": 3.82, "phi-4-mini": 3.84, "phi-4": 14.7, "smollm3-3b": 3.08,
		"ministral-3-3b": 3.4, "ministral-3-14b": 13.5,
		"granite-3.3-2b": 2.53, "granite-3.3-8b": 8.17, "granite-4.0-350m": 0.352, "granite-4.0-1b": 1.63,
		"granite-4.0-micro": 3.40, "olmo-2-1b": 1.48, "olmo-2-7b": 7.3, "olmo-2-13b": 13.7, "olmo-2-32b": 32.2,
	}
	for name, want := range published {
		shape, known := Shape(name)
		require.True(t, known, name)
		require.InEpsilon(t, want, float64(shape.Parameters())/1e9, 0.01, name)
	}
	for _, name := range ShapeNames() {
		_, known := Shape(name)
		require.True(t, known, name)
	}
}
