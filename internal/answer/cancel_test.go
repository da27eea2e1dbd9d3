//go:build !js

package answer

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/canceltest"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/settings"
)

// Wherever a question is cancelled, while the model is loaded, in the middle of a long prompt, between two tokens, the
// next one is answered as ever.
func TestACancelledQuestionLeavesTheAnswerer(t *testing.T) {
	o := generation(demotest.Model(t, 1, func(config map[string]any) { config["max_position_embeddings"] = 512 }))
	o.MaxTokens = 3
	long := settings.Question{Prompt: strings.Repeat(question+" ", 18)} // passes through the model in several parts
	answer := func(ctx context.Context, a *Answerer) (string, error) {
		var text strings.Builder
		err := a.Answer(ctx, long, func(piece string) error { text.WriteString(piece); return nil })
		return text.String(), err
	}
	a := opened(t, o)
	whole := canceltest.At(t, 0)
	want, err := answer(whole, a)
	require.NoError(t, err)
	loaded := canceltest.At(t, 0)
	again, err := answer(loaded, a)
	require.NoError(t, err)
	require.Equal(t, want, again)
	require.GreaterOrEqual(t, loaded.Looks(), int64(2+2*3), "before each part of the prompt, and around each token")
	require.Greater(t, whole.Looks(), loaded.Looks(), "loading looks, too")

	b := opened(t, o)
	for look := int64(1); look <= whole.Looks()-loaded.Looks(); look++ {
		_, err := answer(canceltest.At(t, look), b)
		require.ErrorIs(t, err, context.Canceled, "look %d", look)
	}
	for look := int64(1); look <= loaded.Looks(); look++ {
		got, err := answer(t.Context(), b)
		require.NoError(t, err)
		require.Equal(t, want, got, "after look %d", look-1)
		_, err = answer(canceltest.At(t, look), b)
		require.ErrorIs(t, err, context.Canceled, "look %d", look)
	}
}
