//go:build !js

package answer

import (
	"context"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/engine"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/model"
	"qlora-wgpu/internal/reference"
	"qlora-wgpu/internal/settings"
)

func generation(model string) settings.Generate {
	o := settings.Default[settings.Generate]()
	o.Model, o.MaxTokens, o.Autotune = model, 24, "off"
	return o
}

func opened(t *testing.T, o settings.Generate) *Answerer {
	t.Helper()
	a, err := Open(t.Context(), o.Inference, o.Sampling, func(events.Event) {})
	require.NoError(t, err)
	t.Cleanup(a.Close)
	return a
}

// ask checks on its way that every piece is whole text.
func ask(t *testing.T, a *Answerer, prompt string) string {
	t.Helper()
	var text strings.Builder
	require.NoError(t, a.Answer(t.Context(), settings.Question{Prompt: prompt}, func(piece string) error {
		require.True(t, utf8.ValidString(piece), "%q", piece)
		text.WriteString(piece)
		return nil
	}))
	return text.String()
}

const question = "The cup is pink. The shoe is gray. What color is the cup?"

func TestDrawing(t *testing.T) {
	o := generation(demotest.Model(t, 1, nil))
	greedy := opened(t, o)
	text := ask(t, greedy, question)
	require.NotEmpty(t, text)
	once := greedy.engine.Generator().Computed
	require.Equal(t, text, ask(t, greedy, question), "the cache of the answer before is not seen")
	require.Equal(t, 2*once, greedy.engine.Generator().Computed, "all of it is computed anew")

	o.Temperature, o.Seed = 3, 7
	hot := opened(t, o)
	drawn := ask(t, hot, question)
	require.Equal(t, drawn, ask(t, hot, question))
	require.NotEqual(t, text, drawn)
	hot.sampling.Seed = 8
	require.NotEqual(t, drawn, ask(t, hot, question))
	hot.sampling.TopP = 1e-9
	require.Equal(t, text, ask(t, hot, question), "the likeliest token alone")
	hot.sampling.MaxTokens = 3
	short := ask(t, hot, question)
	require.True(t, strings.HasPrefix(text, short), "%q, %q", text, short)
	require.Less(t, len(short), len(text))
}

// Tokens are drawn as often as their probability says, out of those that top-p leaves.
func TestDrawFollowsTheProbabilities(t *testing.T) {
	logits := []float32{float32(math.Log(0.1)), float32(math.Log(0.5)), float32(math.Log(0.15)), float32(math.Log(0.25))}
	for _, test := range []struct {
		s    settings.Sampling
		want [4]float64
	}{
		{settings.Sampling{Temperature: 1, TopP: 1}, [4]float64{0.1, 0.5, 0.15, 0.25}},
		{settings.Sampling{Temperature: 1, TopP: 0.7}, [4]float64{0, 2. / 3, 0, 1. / 3}},
		{settings.Sampling{Temperature: 0.5, TopP: 1}, [4]float64{0.01 / 0.345, 0.25 / 0.345, 0.0225 / 0.345, 0.0625 / 0.345}},
		{settings.Sampling{Temperature: 0, TopP: 1}, [4]float64{0, 1, 0, 0}},
	} {
		const draws = 20_000
		rng := rand.New(rand.NewPCG(1, 1))
		var got [4]float64
		for range draws {
			id, err := (Sampling{Sampling: test.s}).draw(logits, rng)
			require.NoError(t, err)
			got[id] += 1. / draws
		}
		require.InDeltaSlice(t, test.want[:], got[:], 0.015, "%+v", test.s) // four standard deviations
	}
	_, err := Sampling{}.draw([]float32{0, float32(math.NaN())}, nil)
	require.ErrorIs(t, err, engine.ErrFault)
}

// What the cache holds is what recomputing gives, over more than one chunk of the prompt.
func TestCacheEqualsRecomputing(t *testing.T) {
	a := opened(t, generation(demotest.Model(t, 2, func(config map[string]any) { config["max_position_embeddings"] = 512 })))
	const chunk = 256 // tokens of a prompt that pass at once
	const tokens = chunk + 44
	ids := make([]uint32, tokens)
	random := rand.New(rand.NewPCG(5, 5))
	for i := range ids {
		ids[i] = uint32(random.IntN(1000))
	}
	require.NotEmpty(t, ask(t, a, question)) // which loads the model
	g, err := a.engine.NewGenerator(tokens)
	require.NoError(t, err)
	defer g.Release()
	logits := func(begin bool, from, to int) []float64 {
		if begin {
			g.Forget()
		}
		require.Equal(t, from, g.Held(ids[:to]))
		x, err := g.Logits(t.Context(), ids[:to])
		require.NoError(t, err)
		out := make([]float64, len(x))
		for i, v := range x {
			out[i] = float64(v)
		}
		return out
	}
	at := []int{1, 2, 40, chunk, chunk + 1, tokens}
	atOnce := map[int][]float64{}
	for _, n := range at {
		atOnce[n] = logits(true, 0, n)
	}
	require.Greater(t, reference.NMSE(atOnce[2], atOnce[1]), 1e-2, "the logits depend on the tokens")
	for n := 1; n <= tokens; n++ {
		x := logits(n == 1, n-1, n)
		if want := atOnce[n]; want != nil {
			require.Less(t, reference.NMSE(x, want), 1e-10, "after %d tokens", n)
		}
	}

	// Without a cache: the evaluation's pass over the sequence has the loss that these logits give.
	const scored = 30
	in := model.Input{IDs: ids[:scored], Positions: make([]uint32, scored), FirstKey: make([]uint32, scored), Targets: make([]int32, scored)}
	want, of := 0.0, []float64{} // the targets' probabilities
	for i := range scored {
		in.Positions[i], in.Targets[i] = uint32(i), int32(ids[i+1])
		x := logits(i == 0, i, i+1)
		sum := 0.0
		for _, v := range x {
			sum += math.Exp(v)
		}
		of = append(of, math.Exp(x[ids[i+1]])/sum)
		want -= math.Log(of[i])
	}
	require.NoError(t, a.engine.ReserveEvaluation(scored))
	loss, _, targets, err := a.engine.EvaluateBatches(t.Context(), func(yield func(model.Input) bool) { yield(in) })
	require.NoError(t, err)
	require.Equal(t, scored, targets)
	require.InEpsilon(t, want, loss, 1e-6)
	losses, err := a.engine.TargetLosses(t.Context(), in)
	require.NoError(t, err)
	require.Len(t, losses, scored)
	for i, l := range losses {
		require.InDelta(t, of[i], math.Exp(-float64(l)), 1e-4*of[i])
	}

	logits(true, 0, 100)
	logits(false, 100, 117)
	pieces := logits(false, 117, tokens)
	require.Less(t, reference.NMSE(pieces, atOnce[tokens]), 1e-10)
}

func TestPromptsOfAnswers(t *testing.T) {
	o := generation(demotest.Model(t, 1, nil))
	chat := opened(t, o)
	prompt := func(system string, raw bool) string {
		p, err := chat.processor.Prompt(question, system, raw)
		require.NoError(t, err)
		var list []int32
		for _, id := range p.IDs {
			list = append(list, int32(id))
		}
		return chat.processor.Tokenizer.Decode(list)
	}
	require.Equal(t, "<|user|>"+question+"<|end|><|assistant|>", prompt("", false))
	require.Equal(t, "<|system|>Be kind.<|end|><|user|>"+question+"<|end|><|assistant|>", prompt("Be kind.", false))
	require.Equal(t, question, prompt("", true))

	// A longer prompt than before wants a larger cache; the answers are those of a fresh start.
	long := strings.Repeat(question+" ", 8)
	first, second := ask(t, chat, question), ask(t, chat, long)
	fresh := opened(t, o)
	require.Equal(t, second, ask(t, fresh, long))
	require.Equal(t, first, ask(t, fresh, question))

	// The answer ends with the model's room.
	fresh.sampling.MaxTokens = 1000
	require.NotEmpty(t, ask(t, fresh, long))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, fresh.Answer(ctx, settings.Question{Prompt: question}, func(string) error { return nil }), context.Canceled)
}
