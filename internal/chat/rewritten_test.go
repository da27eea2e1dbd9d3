package chat

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/tokenizer"
)

// texts are those of the samples, with what is learned in brackets.
func texts(tok *tokenizer.Tokenizer, encoded Encoded) []string {
	out := make([]string, len(encoded.Samples))
	for i, sample := range encoded.Samples {
		var text strings.Builder
		for k, id := range sample.IDs {
			if sample.Target[k] && (k == 0 || !sample.Target[k-1]) {
				text.WriteString("⟦")
			}
			text.WriteString(tok.Bytes(id))
			if sample.Target[k] && (k == len(sample.IDs)-1 || !sample.Target[k+1]) {
				text.WriteString("⟧")
			}
		}
		out[i] = text.String()
	}
	return out
}

// Where a template writes earlier turns differently, each answer is learned in the text that the model saw and wrote.
func TestRewrittenTurnsAreSamples(t *testing.T) {
	tok, no := byteTokenizer(t), false
	field := func(answer, name, thought string) Message { return with(assistant(answer), name, `"`+thought+`"`) }
	inContent := []Message{user("a"), assistant("<think>\nhm\n</think>\n\nb"), user("c"), assistant("<think>\nso\n</think>\n\nd")}
	inField := []Message{user("a"), field("b", "reasoning_content", "hm"), user("c"), field("d", "reasoning_content", "so")}
	const first = "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n⟦<think>\nhm\n</think>\n\nb<|im_end|>⟧\n"
	const second = "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n<|im_start|>user\nc<|im_end|>\n" +
		"<|im_start|>assistant\n⟦<think>\nso\n</think>\n\nd<|im_end|>⟧\n"
	untrained := append([]Message{}, inField...)
	untrained[1].Train = &no
	calls := []Message{
		user("a"), field("b", "thinking", "hm"), user("c"), field("d", "thinking", "so"), {Role: "tool", Content: "e"}, assistant("f"),
	}
	for _, c := range []struct {
		name, template string
		messages       []Message
		on             TrainOn
		want           []string
	}{
		{"thoughts in the content", "last_query", inContent, TrainOnAssistant, []string{first, second}},
		{"thoughts in a field", "last_query", inField, TrainOnAssistant, []string{first, second}},
		{"the last answer", "last_query", inField, TrainOnLast, []string{second}},
		{"the last answer before a question", "last_query", inField[:3], TrainOnLast, []string{first}},
		{"an answer that is not learned", "last_query", untrained, TrainOnAssistant, []string{second}},
		{
			"nothing thought", "last_query", []Message{user("a"), assistant("b"), user("c")}, TrainOnAssistant,
			[]string{"<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n⟦<think>\n\n</think>\n\nb<|im_end|>⟧\n"},
		},
		{
			"an answer before the first question", "last_query", []Message{assistant("x"), user("a"), field("b", "reasoning_content", "hm")},
			TrainOnAssistant, []string{
				"<|im_start|>assistant\n⟦<think>\n\n</think>\n\nx<|im_end|>⟧\n",
				"<|im_start|>assistant\nx<|im_end|>\n" + first,
			},
		},
		{
			"a thought alone, which is gone later", "last_query",
			[]Message{user("a"), field("", "reasoning_content", "hm"), user("c"), assistant("d")}, TrainOnAssistant,
			[]string{
				strings.Replace(first, "b<", "<", 1),
				strings.NewReplacer("\nb<", "\n<", "so", "").Replace(second),
			},
		},
		{"nothing to learn earlier", "last_query", []Message{user("a"), assistant(""), user("c"), field("d", "reasoning_content", "so")},
			TrainOnAssistant, []string{strings.Replace(second, "\nb<", "\n<", 1)}},
		{"a macro", "rewriting", inContent, TrainOnAssistant, []string{first, second}},
		{
			"another token at the end", "channels", []Message{user("a"), assistant("b"), user("c"), assistant("d")}, TrainOnAssistant, []string{
				"<|start|>user<|message|>a<|end|><|start|>assistant⟦<|channel|>final<|message|>b<|return|>⟧",
				"<|start|>user<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b<|end|>" +
					"<|start|>user<|message|>c<|end|><|start|>assistant⟦<|channel|>final<|message|>d<|return|>⟧",
			},
		},
		{
			"channels", "channels", calls, TrainOnAssistant, []string{
				"<|start|>user<|message|>a<|end|><|start|>assistant⟦<|channel|>analysis<|message|>hm<|end|>" +
					"<|start|>assistant<|channel|>final<|message|>b<|return|>⟧",
				"<|start|>user<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b<|end|>" +
					"<|start|>user<|message|>c<|end|><|start|>assistant⟦<|channel|>analysis<|message|>so<|end|>" +
					"<|start|>assistant<|channel|>final<|message|>d<|return|>⟧",
				"<|start|>user<|message|>a<|end|><|start|>assistant<|channel|>final<|message|>b<|end|>" +
					"<|start|>user<|message|>c<|end|><|start|>assistant<|channel|>final<|message|>d<|end|>" +
					"<|start|>tool<|message|>e<|end|><|start|>assistant⟦<|channel|>final<|message|>f<|return|>⟧",
			},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := ownTemplate(t, c.template).Encode(tok, turns(c.messages...), c.on)
			require.NoError(t, err)
			require.Equal(t, c.want, texts(tok, got))
			unlearned := c.on == TrainOnLast && len(c.want) == 1 && c.want[0] == second || c.messages[1].Train == &no
			require.Equal(t, unlearned, len(got.Unseen) > 0, "what is thought shows in the sample of its turn: %v", got.Unseen)
			for i, sample := range got.Samples {
				require.Equal(t, strings.Count(c.want[i], "<|im_start|>")+strings.Count(c.want[i], "<|start|>")-strings.Count(c.want[i], "analysis"),
					sample.Turns)
			}
		})
	}
}

// Where the prompt asks for no thought and a turn has one, the turn does not begin with the prompt: the thought is
// learned.
func TestThoughtsThatNobodyAskedFor(t *testing.T) {
	chat := turns(user("a"), with(assistant("b"), "reasoning_content", `"hm"`), user("c"), with(assistant("d"), "reasoning_content", `"so"`))
	chat.TemplateArgs = []byte(`{"enable_thinking": false}`)
	tok := byteTokenizer(t)
	got, err := ownTemplate(t, "last_query").Encode(tok, chat, TrainOnAssistant)
	require.NoError(t, err)
	require.True(t, got.Rewritten)
	require.Equal(t, []string{"hm\n</think>\n\nb<|im_end|>", "so\n</think>\n\nd<|im_end|>"}, targets(tok, got))
	chat.Messages[1].Fields, chat.Messages[3].Fields = nil, nil
	got, err = ownTemplate(t, "last_query").Encode(tok, chat, TrainOnAssistant)
	require.NoError(t, err)
	require.Equal(t, []string{"b<|im_end|>", "d<|im_end|>"}, targets(tok, got), "the prompt holds the empty thought")
}

// What is the same whatever follows stays one sample, also with a template that rewrites other conversations.
func TestPreservedTurnsStayTogether(t *testing.T) {
	tok := byteTokenizer(t)
	steps := []Message{
		user("a"), with(assistant("b"), "reasoning_content", `"hm"`), {Role: "tool", Content: "c"},
		with(assistant("d"), "reasoning_content", `"so"`),
	}
	got, err := ownTemplate(t, "last_query").Encode(tok, turns(steps...), TrainOnAssistant)
	require.NoError(t, err)
	require.False(t, got.Rewritten)
	require.Equal(t, []string{
		"<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n⟦<think>\nhm\n</think>\n\nb<|im_end|>⟧\n<|im_start|>tool\nc<|im_end|>\n" +
			"<|im_start|>assistant\n⟦<think>\nso\n</think>\n\nd<|im_end|>⟧\n",
	}, texts(tok, got))
	got, err = ownTemplate(t, "last_query").Encode(tok, turns(append(steps, user("e"))...), TrainOnAll)
	require.NoError(t, err)
	require.Len(t, got.Samples, 1, "all tokens of the text are learned")
	require.Equal(t, []string{"reasoning"}, got.Unseen)
}

// What is said before is in every sample: a conversation that would fill the memory is refused.
func TestRewrittenConversationsAreBounded(t *testing.T) {
	chat := turns(user(strings.Repeat("a", 4<<20)))
	for range 33 {
		chat.Messages = append(chat.Messages, with(assistant("b"), "reasoning_content", `"hm"`), user("c"))
	}
	_, err := ownTemplate(t, "last_query").Encode(byteTokenizer(t), chat, TrainOnAssistant)
	require.ErrorContains(t, err, "33 answers, each behind all that was said before, have 1384")
	require.ErrorContains(t, err, "more than 134217728")
	require.ErrorContains(t, err, "train on the last turn only")
}
