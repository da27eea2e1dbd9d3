package chat

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// A template that marks what an assistant writes says what is learned.
func TestMarksAreLearned(t *testing.T) {
	tok, no := byteTokenizer(t), false
	calls := `[{"function":{"name":"f","arguments":{}}}]`
	messages := []Message{
		user("a"), with(assistant("b"), "thinking", `"hm"`), user("c"), with(assistant(""), "tool_calls", calls),
		{Role: "tool", Content: "d"}, assistant("e"),
	}
	const start, call = "<|im_start|>assistant\n", `<|python_tag|>{"name": "f", "arguments": {}}<|im_end|>`
	whole := "<|im_start|>user\na<|im_end|>\n" + start + "⟦<think>hm</think>b<|im_end|>⟧\n<|im_start|>user\nc<|im_end|>\n" + start +
		"⟦" + call + "⟧\n<|im_start|>tool\nd<|im_end|>\n" + start + "⟦e<|im_end|>⟧\n"
	template := ownTemplate(t, "marked")
	got, err := template.Encode(tok, turns(messages...), TrainOnAssistant)
	require.NoError(t, err)
	require.Equal(t, []string{whole}, texts(tok, got))
	require.False(t, got.Rewritten)

	learned := func(on TrainOn, messages []Message, args string) []string {
		chat := turns(messages...)
		if args != "" {
			chat.TemplateArgs = []byte(args)
		}
		got, err := template.Encode(tok, chat, on)
		require.NoError(t, err)
		return targets(tok, got)
	}
	require.Equal(t, []string{"e<|im_end|>"}, learned(TrainOnLast, messages, ""))
	require.Equal(t, []string{"<think>hm</think>b<|im_end|>"}, learned(TrainOnLast, messages[:3], ""), "a question follows")
	skipped := append([]Message{}, messages...)
	skipped[1].Train = &no
	require.Equal(t, []string{call, "e<|im_end|>"}, learned(TrainOnAssistant, skipped, ""))
	require.Equal(t, []string{"<|im_end|>"}, learned(TrainOnAssistant, []Message{user("a"), assistant("")}, ""), "as transformers learns it")

	// The thought goes when others follow: the answers are learned one by one.
	chat := turns(messages...)
	chat.TemplateArgs = []byte(`{"keep": false}`)
	got, err = template.Encode(tok, chat, TrainOnAssistant)
	require.NoError(t, err)
	require.True(t, got.Rewritten)
	require.Equal(t, []string{"<think>hm</think>b<|im_end|>", call, "e<|im_end|>"}, targets(tok, got))

	// A token that reaches beyond a mark is learned, as in transformers; nothing is added behind it.
	reaching := parsed("{% for m in messages %}{% generation %}{{ m.content }}\n{% endgeneration %}\n{% endfor %}",
		map[string]string{"eos_token": "</s>"})
	got, err = reaching.Encode(tok, turns(assistant("a")), TrainOnAssistant)
	require.NoError(t, err)
	require.Equal(t, []string{"⟦a\n⟧"}, texts(tok, got))
	inside := parsed("{% for m in messages %}{% generation %}{{ m.content ~ '\n' }}{% endgeneration %}{{ '\n' }}{% endfor %}", nil)
	got, err = inside.Encode(tok, turns(assistant("a")), TrainOnAssistant)
	require.NoError(t, err)
	require.Equal(t, []string{"⟦a\n\n⟧"}, texts(tok, got))

	// What else a template marks is learned with the rest, as in transformers; of single turns it is theirs alone.
	others := parsed("{% for m in messages %}{% generation %}{{ m.role }} {{ m.content }}<|end|>{% endgeneration %};{% endfor %}", nil)
	got, err = others.Encode(tok, turns(user("a"), assistant("b")), TrainOnAssistant)
	require.NoError(t, err)
	require.Equal(t, []string{"user a<|end|>", "assistant b<|end|>"}, targets(tok, got))
	got, err = others.Encode(tok, turns(user("a"), assistant("b"), user("c"), assistant("d")), TrainOnLast)
	require.NoError(t, err)
	require.Equal(t, []string{"assistant d<|end|>"}, targets(tok, got))

	// A final token of the text that is marked too belongs to the last answer alone.
	final := parsed("{% for m in messages %}<|{{ m.role }}|>"+
		"{% if m.role == 'assistant' %}{% generation %}{{ m.content }}<|end|>{% endgeneration %}"+
		"{% else %}{{ m.content }}<|end|>{% endif %}{% endfor %}"+
		"{% if add_generation_prompt %}[asked]{% else %}{% generation %}</s>{% endgeneration %}"+
		"{% endif %}", nil)
	said := []Message{user("a"), assistant("b"), user("c"), assistant("d"), user("e"), assistant("f")}
	got, err = final.Encode(tok, turns(said...), TrainOnAssistant)
	require.NoError(t, err)
	require.Equal(t, []string{"b<|end|>", "d<|end|>", "f<|end|></s>"}, targets(tok, got))
	require.Len(t, got.Samples, 1)
	said[3].Train = &no
	got, err = final.Encode(tok, turns(said...), TrainOnAssistant)
	require.NoError(t, err)
	require.Equal(t, []string{"b<|end|>", "f<|end|></s>"}, targets(tok, got))

	nothing := parsed("{% for m in messages %}{{ m.content }}"+
		"{% if m.role == 'x' %}{% generation %}{% endgeneration %}{% endif %}{% endfor %}", nil)
	got, err = nothing.Encode(tok, turns(user("a"), assistant("b")), TrainOnAssistant)
	require.NoError(t, err)
	require.Equal(t, 1, got.NothingToLearn)
	require.Equal(t, []string{"ab"}, texts(tok, got))
	got, err = template.Encode(tok, turns(user("a"), assistant("b")), TrainOnAll)
	require.NoError(t, err)
	require.Equal(t, []string{"<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"}, targets(tok, got))
}

// Variables go from the run and from a conversation, which comes before it, to the template.
func TestTemplateArgs(t *testing.T) {
	template := New(Options{
		Templates: map[string]string{"default": "{{ bos_token }}{{ a }}{{ b }}{{ c.d[0] }}{{ documents }}"},
		Tokens:    map[string]string{"bos_token": "<s>"}, TemplateArgs: []byte(`{"a": 1, "b": "x", "c": {"d": [null]}}`),
	})
	text, err := template.Render(turns(user("q")), false)
	require.NoError(t, err)
	require.Equal(t, "<s>1xNoneNone", text)
	chat := turns(user("q"))
	chat.TemplateArgs = []byte(`{"b": false, "bos_token": "", "documents": []}`)
	text, err = template.Render(chat, false)
	require.NoError(t, err)
	require.Equal(t, "1FalseNone[]", text)

	for args, message := range map[string]string{
		`{"messages": []}`: "messages cannot be given", `[1]`: "[1] is no JSON object", `{"a"`: "", `{"a": 1, "a": 2}`: "",
		`{"add_generation_prompt": true}`: "add_generation_prompt cannot be given",
	} {
		require.ErrorContains(t, CheckTemplateArgs([]byte(args)), message)
		chat.TemplateArgs = []byte(args)
		_, err := template.Render(chat, false)
		require.ErrorContains(t, err, "template arguments: bad format: "+message, args)
	}
	require.NoError(t, CheckTemplateArgs(nil))
}
