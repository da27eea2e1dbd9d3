//go:build !js

package answer

import (
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/settings"
)

const slidingWindow = 64

// slidingModel has a layer that slides and one that does not: the first keeps the last 64 tokens, and as many as pass
// at once, 256.
func slidingModel(t *testing.T) settings.Generate {
	return generation(demotest.Model(t, 2, func(config map[string]any) {
		config["architectures"], config["model_type"] = []string{"SmolLM3ForCausalLM"}, "smollm3"
		config["no_rope_layers"], config["layer_types"] = []int{1, 0}, []string{"sliding_attention", "full_attention"}
		config["use_sliding_window"], config["sliding_window"] = true, slidingWindow
		config["max_position_embeddings"] = 1024
	}))
}

// Behind a prompt in pieces and token by token, far beyond the window, a generator gives the probabilities of an
// evaluation, which has no cache.
func TestASlidingCacheEqualsAnEvaluation(t *testing.T) {
	a := opened(t, slidingModel(t))
	const scored = 720
	ids := make([]uint32, scored+1)
	random := rand.New(rand.NewPCG(6, 6))
	for i := range ids {
		ids[i] = uint32(random.IntN(1000))
	}
	require.NotEmpty(t, ask(t, a, question)) // which loads the model
	in := model.Input{IDs: ids[:scored], Positions: make([]uint32, scored), FirstKey: make([]uint32, scored), Targets: make([]int32, scored)}
	for i := range scored {
		in.Positions[i], in.Targets[i] = uint32(i), int32(ids[i+1])
	}
	require.NoError(t, a.engine.ReserveEvaluation(scored))
	losses, err := a.engine.TargetLosses(t.Context(), in)
	require.NoError(t, err)
	g, err := a.engine.NewGenerator(scored)
	require.NoError(t, err)
	defer g.Release()
	requireLoss := func(n, computed int) {
		before := g.Computed
		logits, err := g.Logits(t.Context(), ids[:n])
		require.NoError(t, err)
		require.Equal(t, computed, g.Computed-before, "up to %d", n)
		sum := 0.0
		for _, v := range logits {
			sum += math.Exp(float64(v))
		}
		require.InDelta(t, losses[n-1], math.Log(sum)-float64(logits[ids[n]]), 1e-4, "after %d tokens", n)
	}
	requireLoss(700, 700)
	for n := 701; n <= scored; n++ {
		requireLoss(n, 1)
	}
	requireLoss(scored, 1)
	requireLoss(512, 1) // the prompt's last piece began behind this token, with 64 before it
	requireLoss(511, 511)
	g.Forget()
	for n := 1; n <= 400; n++ {
		requireLoss(n, 1)
	}
	requireLoss(390, 1)
	requireLoss(40, 40)
	requireLoss(60, 20)
}

// A conversation goes on from what is held, also where the window is long passed, and an answer that is asked for again
// from further back than layers that slide remember is computed anew.
func TestTurnsBeyondTheWindow(t *testing.T) {
	o := slidingModel(t)
	held, anew := opened(t, o), opened(t, o)
	require.NoError(t, held.readyToChat(t.Context(), 1000)) // taking more would forget
	speak := func(messages []chat.Message, tokens int) (string, Result) {
		t.Helper()
		got, result := next(t, held, messages, likeliest(tokens))
		if anew.engine != nil {
			anew.engine.Generator().Forget()
		}
		want, all := next(t, anew, messages, likeliest(tokens))
		require.Equal(t, want, got)
		require.Equal(t, all.PromptTokens, all.Computed)
		return got, result
	}
	messages := []chat.Message{{Role: "system", Content: "Be kind."}}
	for i, asked := range []string{question, strings.Repeat("And the shoe? ", 30), "Who wears it?", strings.Repeat(question+" ", 12), "Why?"} {
		messages = append(messages, user(asked))
		got, result := speak(messages, 40)
		t.Logf("turn %d: %d of %d tokens computed", i, result.Computed, result.PromptTokens)
		if i > 0 {
			require.Less(t, result.Computed, result.PromptTokens)
		}
		messages = append(messages, chat.Message{Role: "assistant", Content: got})
	}
	messages = messages[:len(messages)-1]
	_, result := speak(messages, 40)
	t.Logf("the last answer again: %d of %d tokens computed", result.Computed, result.PromptTokens)
	require.Greater(t, result.PromptTokens, slidingWindow+256)
	_, result = speak(slices.Concat(messages[:1], messages[3:]), 40)
	require.Equal(t, result.PromptTokens, result.Computed)
}
