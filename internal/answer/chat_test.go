//go:build !js

package answer

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/gpu"
	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/checkpoint"
	"qlora-wgpu/internal/dataset"
	"qlora-wgpu/internal/demo/demotest"
	"qlora-wgpu/internal/events"
	"qlora-wgpu/internal/host"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/settings"
	"qlora-wgpu/internal/usererr"
	"qlora-wgpu/lora"
)

func likeliest(tokens int) settings.Sampling { return settings.Sampling{MaxTokens: tokens, TopP: 1} }

func user(content string) chat.Message { return chat.Message{Role: "user", Content: content} }

// next is the assistant's next turn; every piece is whole text.
func next(t *testing.T, a *Answerer, messages []chat.Message, sampling settings.Sampling) (string, Result) {
	t.Helper()
	var text strings.Builder
	result, err := a.Chat(t.Context(), messages, sampling, func(piece string) error {
		require.True(t, utf8.ValidString(piece), "%q", piece)
		text.WriteString(piece)
		return nil
	})
	require.NoError(t, err)
	return text.String(), result
}

func positions(n int) func(map[string]any) {
	return func(config map[string]any) { config["max_position_embeddings"] = n }
}

// What a conversation has in common with the one before is not computed again, and its turns are those that come of
// computing all of it.
func TestTurnsGoOnFromWhatIsHeld(t *testing.T) {
	o := generation(demotest.Model(t, 2, positions(512)))
	held, anew := opened(t, o), opened(t, o)
	messages := []chat.Message{{Role: "system", Content: "Be kind."}}
	before := 0
	for i, asked := range []string{question, "And the shoe?", "Who wears it? Say it in a few words."} {
		messages = append(messages, user(asked))
		got, result := next(t, held, messages, likeliest(12))
		if anew.engine != nil {
			anew.engine.Generator().Forget()
		}
		want, all := next(t, anew, messages, likeliest(12))
		require.NotEmpty(t, want)
		require.Equal(t, want, got, "turn %d", i)
		require.Equal(t, all.PromptTokens, all.Computed)
		require.Equal(t, []any{all.Tokens, all.End, all.PromptTokens}, []any{result.Tokens, result.End, result.PromptTokens})
		if i > 0 {
			require.LessOrEqual(t, result.Computed, result.PromptTokens-before, "turn %d: the conversation before is held", i)
			t.Logf("turn %d: %d of %d tokens computed", i, result.Computed, result.PromptTokens)
		}
		before = result.PromptTokens
		messages = append(messages, chat.Message{Role: "assistant", Content: got})
	}

	// Another conversation has only its beginning in common.
	other := []chat.Message{messages[0], user("Hello!")}
	got, result := next(t, held, other, likeliest(12))
	require.Positive(t, result.Computed)
	require.Less(t, result.Computed, result.PromptTokens)
	anew.engine.Generator().Forget()
	want, _ := next(t, anew, other, likeliest(12))
	require.Equal(t, want, got)

	// The same again: one token is computed, whose logits are wanted.
	again, result := next(t, held, other, likeliest(12))
	require.Equal(t, want, again)
	require.Equal(t, 1, result.Computed)

	hot := settings.Sampling{MaxTokens: 12, TopP: 1, Temperature: 3}
	drawn, _ := next(t, held, other, hot)
	require.NotEqual(t, want, drawn, "each turn has settings of its own")
	hot.Temperature = -1
	_, err := held.Chat(t.Context(), other, hot, nil)
	require.ErrorContains(t, err, "temperature is -1")
}

// A turn says how it ended, and a conversation that is too long what to do.
func TestHowATurnEnds(t *testing.T) {
	a := opened(t, generation(demotest.Model(t, 1, positions(96))))
	messages := []chat.Message{user(question)}
	_, result := next(t, a, messages, likeliest(5))
	require.Equal(t, Result{Tokens: 5, End: EndLength, PromptTokens: result.PromptTokens, Computed: result.PromptTokens}, result)
	text, result := next(t, a, messages, likeliest(1000))
	require.Equal(t, EndContextFull, result.End)
	require.Equal(t, 96-result.PromptTokens+1, result.Tokens, "the last token has no room to be continued from")

	refused := errors.New("the reader is gone")
	result, err := a.Chat(t.Context(), []chat.Message{user(question)}, likeliest(5), func(string) error { return refused })
	require.ErrorIs(t, err, refused)
	require.Equal(t, []any{1, ""}, []any{result.Tokens, result.End})

	// The stop tokens are those of the model: the token that it says first becomes one.
	first, _ := next(t, a, messages, likeliest(1))
	require.True(t, strings.HasPrefix(text, first))
	ids := a.processor.Tokenizer.Encode(first)
	require.Len(t, ids, 1)
	a.session.Source.Tokens.Stop = append(a.session.Source.Tokens.Stop, int(ids[0]))
	said, result := next(t, a, messages, likeliest(5))
	require.Empty(t, said)
	require.Equal(t, []any{0, EndStop}, []any{result.Tokens, result.End})

	var mistake *usererr.Error
	_, err = a.Chat(t.Context(), []chat.Message{user(question), {Role: "assistant", Content: text}, user(question)}, likeliest(5), nil)
	require.ErrorAs(t, err, &mistake)
	require.Regexp(t, `the conversation has \d+ tokens, the model holds 96 \(begin a new conversation, or leave out its first turns\)`,
		err.Error())
	_, err = a.Chat(t.Context(), nil, likeliest(5), nil)
	require.ErrorContains(t, err, "the conversation has no message (begin with a user's turn)")

}

// A turn that is cancelled says so, and the conversation goes on from what was said.
func TestACancelledTurnCanBeContinued(t *testing.T) {
	o := generation(demotest.Model(t, 2, positions(512)))
	a, fresh := opened(t, o), opened(t, o)
	messages := []chat.Message{user(question)}
	for at := range 4 {
		ctx, stop := context.WithCancel(t.Context())
		var text strings.Builder
		pieces := 0
		if at == 0 {
			stop()
		}
		result, err := a.Chat(ctx, messages, likeliest(200), func(piece string) error {
			text.WriteString(piece)
			if pieces++; pieces == at {
				stop()
			}
			return nil
		})
		stop()
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, []any{at, EndCancelled}, []any{result.Tokens, result.End})
		messages = append(messages, chat.Message{Role: "assistant", Content: text.String()}, user("Go on."))
	}
	got, result := next(t, a, messages, likeliest(8))
	require.Less(t, result.Computed, result.PromptTokens/2)
	want, _ := next(t, fresh, messages, likeliest(8))
	require.Equal(t, want, got)
}

// The base model under an adapter says and measures what an Answerer of the base alone does; the weights are there
// once, and each side holds a conversation of its own.
func TestBothSidesOfAnAdapter(t *testing.T) {
	o := generation(demotest.Model(t, 5, positions(512)))
	data, _, err := dataset.Open(demotest.Rows(t, 4))
	require.NoError(t, err)
	alone := opened(t, o)
	o.Adapter = someAdapter(t, o.Model, allLinear, 1./8)
	both, tuned := opened(t, o), opened(t, o)
	base := both.WithoutAdapter()

	var onBase, onTuned []chat.Message
	differ := false
	for i, asked := range []string{question, "And the shoe?", "Why?"} {
		onBase, onTuned = append(onBase, user(asked)), append(onTuned, user(asked))
		want, all := next(t, alone, onBase, likeliest(16))
		got, result := next(t, base, onBase, likeliest(16))
		require.Equal(t, want, got)
		require.Equal(t, all, result, "what is held is of this side")
		wantTuned, all := next(t, tuned, onTuned, likeliest(16))
		gotTuned, result := next(t, both, onTuned, likeliest(16))
		require.Equal(t, wantTuned, gotTuned)
		require.Equal(t, all, result)
		differ = differ || want != wantTuned
		if i > 0 {
			require.Less(t, result.Computed, result.PromptTokens/2)
		}
		onBase = append(onBase, chat.Message{Role: "assistant", Content: want})
		onTuned = append(onTuned, chat.Message{Role: "assistant", Content: wantTuned})
	}
	require.True(t, differ, "the adapter changes what is said")
	for _, pair := range [][2]*Answerer{{alone, base}, {tuned, both}} {
		require.Equal(t, ask(t, pair[0], question), ask(t, pair[1], question))
		want, err := pair[0].Evaluate(t.Context(), data, 0, false)
		require.NoError(t, err)
		got, err := pair[1].Evaluate(t.Context(), data, 0, false)
		require.NoError(t, err)
		require.Equal(t, want.Loss, got.Loss)
	}
	require.Equal(t, ask(t, alone, question), ask(t, alone.WithoutAdapter(), question), "there is none to leave out")

	twice := alone.session.Device.Bytes() + tuned.session.Device.Bytes()
	once := both.session.Device.Bytes()
	t.Logf("%d bytes for both sides, %d for two models, of which %d are one's weights", once, twice, both.engine.Model.FrozenBytes())
	require.Less(t, once, twice-both.engine.Model.FrozenBytes()*9/10)
}

// A budget counts both sides' keys and values, and is enough for a conversation that just fits it.
func TestBothSidesWithinABudget(t *testing.T) {
	o := generation(demotest.Model(t, 5, positions(2048)))
	o.CacheDir = t.TempDir()
	o.Adapter = someAdapter(t, o.Model, allLinear, 1./8)
	long := []chat.Message{user(strings.Repeat(question+" ", 36))}
	resident := opened(t, o)
	prompt, err := resident.processor.Conversation(long)
	require.NoError(t, err)
	require.Greater(t, len(prompt.IDs), 512, "doubled it would be 1,024")
	require.Less(t, len(prompt.IDs), 760)
	want, _ := next(t, resident, long, likeliest(8))
	base, _ := next(t, resident.WithoutAdapter(), long, likeliest(8))

	o.VRAMBudget = "1GiB"
	ample := opened(t, o)
	got, _ := next(t, ample, long, likeliest(8))
	require.Equal(t, want, got)
	got, _ = next(t, ample.WithoutAdapter(), long, likeliest(8))
	require.Equal(t, base, got)
	plan := ample.engine.Plan()
	require.Equal(t, plan.Peak, ample.session.Device.PeakBytes())

	o.VRAMBudget = fmt.Sprintf("%dB", plan.Minimum-1)
	least := opened(t, o)
	got, _ = next(t, least.WithoutAdapter(), long, likeliest(8))
	require.Equal(t, base, got)
	got, result := next(t, least, long, likeliest(8))
	require.Equal(t, want, got)
	require.Equal(t, 768, least.engine.Generator().Room())
	require.Equal(t, least.engine.Plan().Peak, least.session.Device.PeakBytes())
	require.Equal(t, result.PromptTokens, result.Computed)
}

// An adapter that is brought, of whatever rank and targets, from whatever store, is asked beside the base model; one of
// another model is refused when it is asked, and the Answerer of the base goes on.
func TestAnAdapterThatIsBrought(t *testing.T) {
	o := generation(demotest.Model(t, 2, positions(512)))
	source, err := pretrained.Open(o.Model)
	require.NoError(t, err)
	defer source.Close()
	dev, err := gpu.Open(t.Context(), gpu.Options{})
	require.NoError(t, err)
	defer dev.Release()
	messages := []chat.Message{user(question)}
	base, _ := next(t, opened(t, o), messages, likeliest(12))
	bring := func(dir string) *Answerer {
		adapter, err := lora.Open(checkpoint.Files{}, dir)
		require.NoError(t, err)
		in := Inputs{Model: source, Cache: host.MeasurementsIn(o.CacheDir), Opened: dev, Adapter: adapter}
		a, err := New(t.Context(), o.Inference, o.Sampling, in, func(events.Event) {})
		require.NoError(t, err)
		t.Cleanup(a.Close)
		return a
	}
	for _, config := range []lora.Config{
		{Rank: 8, Alpha: 64, Targets: []string{"q_proj", "down_proj"}},
		{Rank: 16, Alpha: 16, RSLoRA: true, Targets: []string{"model.layers.1.mlp.up_proj"}},
	} {
		o.Adapter = someAdapter(t, o.Model, config, 1)
		want, _ := next(t, opened(t, o), messages, likeliest(12))
		require.NotEqual(t, base, want)
		a := bring(o.Adapter)
		got, _ := next(t, a, messages, likeliest(12))
		require.Equal(t, want, got)
		got, _ = next(t, a.WithoutAdapter(), messages, likeliest(12))
		require.Equal(t, base, got)
	}
	larger := demotest.Model(t, 3, nil)
	_, err = bring(someAdapter(t, larger, allLinear, 1)).Chat(t.Context(), messages, likeliest(12), nil)
	require.ErrorContains(t, err, "the adapter belongs to another model")
}
