package chat

import (
	"encoding/json/jsontext"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// What a template leaves out is named, whatever words the conversation has; a turn of which nothing shows is no target.
func TestUnseen(t *testing.T) {
	tok := byteTokenizer(t)
	const bare = `{% for m in messages %}<|{{ m.role if m.role in ['user', 'assistant'] else 'system' }}|>{{ m.content }}<|end|>{% endfor %}` +
		`{% if add_generation_prompt %}<|assistant|>{% endif %}`
	const noThoughts = `{% for m in messages %}{% if m.role == 'user' %}<|user|>{{ m.content }}<|end|>{% else %}` +
		`<|assistant|>{{ m.content.split('</think>')[-1] }}<|end|>{% endif %}{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}`
	const names = `{% for m in messages %}<|user|>{{ m.name }}: {{ m.content }}` +
		`{% for c in m.tool_calls %}{{ c.function.name }}{% endfor %}<|end|>{% endfor %}`
	call := `[{"id": "c", "type": "function", "function": {"name": "w", "arguments": {"city": "Rome"}}}]`
	for _, c := range []struct {
		name, template string
		chat           Conversation
		unseen         []string
		nothing        int
		want           []string
	}{
		{"all shows", bare, turns(user("Weather in Rome?"), assistant("w")), nil, 0, []string{"w<|end|>"}},
		{"white space around", bare, turns(user("  a\n"), assistant(" b\n")), nil, 0, []string{" b\n<|end|>"}},
		{
			"calls", bare, turns(user("Weather in Rome?"), with(assistant(""), "tool_calls", call), assistant("12")),
			[]string{"tool calls"}, 1, []string{"12<|end|>"},
		},
		{
			"a call beside a text", bare, turns(user("Weather in Rome?"), with(assistant("I look."), "tool_calls", call)),
			[]string{"tool calls"}, 0, []string{"I look.<|end|>"},
		},
		{
			"an earlier form of calls", bare,
			turns(user("x"), with(assistant(""), "function_call", `{"name": "f", "arguments": "{}"}`), assistant("y")),
			[]string{"tool calls"}, 1, []string{"y<|end|>"},
		},
		{
			"arguments alone", names, turns(with(user("x"), "name", `"Ann"`), with(assistant("y"), "tool_calls", call)),
			[]string{"tool calls"}, 0, []string{"yw<|end|>"},
		},
		{
			"thoughts in the content", noThoughts, turns(user("a"), assistant("<think>\nhm\n</think>\n\nTwo.")),
			[]string{"reasoning"}, 0, []string{"\n\nTwo.<|end|>"},
		},
		{
			"no thoughts within the marks", noThoughts, turns(user("a"), assistant("<think>\n\n</think>\n\nTwo.")),
			nil, 0, []string{"\n\nTwo.<|end|>"},
		},
		{
			"thoughts in a field", bare, turns(user("a"), with(assistant("b"), "reasoning_content", `"hm"`)),
			[]string{"reasoning"}, 0, []string{"b<|end|>"},
		},
		{
			"other fields", bare, turns(with(user("a"), "mood", `"glad"`), with(assistant("b"), "score", "0.5")),
			[]string{`fields "mood"`, `fields "score"`}, 0, []string{"b<|end|>"},
		},
		{"empty fields", bare, turns(with(user("a"), "mood", `""`, "tool_calls", "[]"), assistant("b")), nil, 0, []string{"b<|end|>"}},
		{
			"ids are no content", bare, turns(user("a"), with(Message{Role: "tool", Content: "r"}, "tool_call_id", `"c1"`), assistant("b")),
			nil, 0, []string{"b<|end|>"},
		},
		{"a name", bare, turns(with(user("a"), "name", `"Bo"`), assistant("b")), []string{"names"}, 0, []string{"b<|end|>"}},
		{"a name that shows", names, turns(with(user("a"), "name", `"Bo"`)), nil, 0, nil},
		{"an empty turn", bare, turns(user("a"), assistant(""), user("b"), assistant("c")), nil, 1, []string{"c<|end|>"}},
		{"a blank turn", bare, turns(user("a"), assistant(" \n")), nil, 1, nil},
		{
			"a system turn", `{% for m in messages if m.role != 'system' %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}` +
				`{% if add_generation_prompt %}<|assistant|>{% endif %}`,
			turns(Message{Role: "system", Content: "Be kind."}, user("a"), assistant("b")), []string{"turns"}, 0, []string{"b<|end|>"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parsed(c.template, nil).Encode(tok, c.chat, TrainOnAssistant)
			require.NoError(t, err)
			require.Equal(t, c.unseen, got.Unseen)
			require.Equal(t, c.nothing, got.NothingToLearn)
			require.Equal(t, c.want, targets(tok, got))
		})
	}

	// Marks come through whatever a template does to what is no plain text.
	const turn = `{% for m in messages %}<|{{ m.role }}|>{{ m.content }}`
	const end = `<|end|>{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}`
	for _, shows := range []struct{ template, learned string }{
		{turn + `{{ m.tool_calls or '' }}` + end, `[{'function': {'name': 'w'}}]<|end|>`},
		{turn + `{{ m.tool_calls | tojson(ensure_ascii=True) if m.tool_calls }}` + end, `[{"function": {"name": "w"}}]<|end|>`},
		{turn + `{{ m.tool_calls | tojson | upper if m.tool_calls }}` + end, `[{"FUNCTION": {"NAME": "W"}}]<|end|>`},
	} {
		got, err := parsed(shows.template, nil).
			Encode(tok, turns(user("a"), with(assistant(""), "tool_calls", `[{"function":{"name":"w"}}]`)), TrainOnAssistant)
		require.NoError(t, err)
		require.Empty(t, got.Unseen, shows.template)
		require.Equal(t, []string{shows.learned}, targets(tok, got))
	}
	upper := strings.ReplaceAll(turn, "m.content", "m.content | upper")
	got, err := parsed(upper+`<|end|>{% endfor %}`, nil).Encode(tok, turns(user("a"), assistant("b")), TrainOnAssistant)
	require.NoError(t, err)
	require.Equal(t, []string{"B<|end|>"}, targets(tok, got))

	// Numbers and switches show where they change something.
	flags := turns(with(user("a"), "turn", "7"), with(assistant("b"), "prefix", "true", "hidden", "false"))
	got, err = parsed(turn+`{{ m.turn }}{{ '!' if m.prefix }}`+end, nil).Encode(tok, flags, TrainOnAssistant)
	require.NoError(t, err)
	require.Empty(t, got.Unseen)
	got, err = parsed(bare, nil).Encode(tok, flags, TrainOnAssistant)
	require.NoError(t, err)
	require.Equal(t, []string{`fields "prefix"`, `fields "turn"`}, got.Unseen)

	// What a conversation has of the marks' digits is no mark.
	got, err = parsed(bare, nil).Encode(tok, turns(user(newMarks()), with(assistant("b"), "mood", `"glad"`)), TrainOnAssistant)
	require.NoError(t, err)
	require.Equal(t, []string{`fields "mood"`}, got.Unseen)

	chat := turns(user("Weather in Rome?"), assistant("w"))
	chat.Tools = jsontext.Value(`[{"type": "function", "function": {"name": "w", "description": "weather"}}]`)
	got, err = parsed(bare, nil).Encode(tok, chat, TrainOnAssistant)
	require.NoError(t, err)
	require.Equal(t, []string{"tools"}, got.Unseen)
	for _, shows := range []string{"{{ tools }}", "{% for t in tools or [] if t.type == 'function' %}{{ t.function.name }}{% endfor %}"} {
		got, err = parsed(shows+bare, nil).Encode(tok, chat, TrainOnAssistant)
		require.NoError(t, err)
		require.Empty(t, got.Unseen, shows)
	}
	got, err = parsed("{{ tools | tojson }}"+bare, nil).Encode(tok, chat, TrainOnAssistant)
	require.NoError(t, err)
	require.Empty(t, got.Unseen)
}

// newMarks is a text of the first marks.
func newMarks() (text string) {
	for i := range uint64(4) {
		text += fmt.Sprintln(markBase + i)
	}
	return text
}

func TestVariables(t *testing.T) {
	render := func(template string, chat Conversation) string {
		text, err := New(Options{
			Templates: map[string]string{"default": template, "tool_use": "for tools: " + template},
			Tokens:    map[string]string{"eos_token": "</s>"}, Now: time.Date(2024, 12, 3, 0, 0, 0, 0, time.UTC),
		}).Render(chat, true)
		require.NoError(t, err)
		return text
	}
	chat := turns(user("a"))
	require.Equal(t, "True True False False </s>", render("{{ tools is none }} {{ documents is none }} {{ date_string is defined }} "+
		"{{ bos_token is defined }} {{ eos_token }}", chat))
	require.Equal(t, "03 Dec 2024", render("{{ strftime_now('%d %b %Y') }}", chat))
	chat.Tools = jsontext.Value(`[{"name": "w"}]`)
	require.Equal(t, "for tools: w", render("{{ tools[0].name }}", chat))

	// What a model thought comes under either name, whichever the row has; an own field goes before an alias.
	const both = "{{ messages[0].reasoning_content }} {{ messages[0].thinking }} {{ messages[0].reasoning }}"
	require.Equal(t, "hm hm ", render(both, turns(with(assistant("a"), "reasoning_content", `"hm"`))))
	require.Equal(t, "hm hm hm", render(both, turns(with(assistant("a"), "reasoning", `"hm"`))))
	require.Equal(t, "hm own ", render(both, turns(with(assistant("a"), "thinking", `"own"`, "reasoning_content", `"hm"`))))

	none := New(Options{Templates: map[string]string{"rag": "a", "tool_use": "b"}})
	_, err := none.Render(turns(user("a")), true)
	require.ErrorContains(t, err, "the model has templates of several names (rag, tool_use), and none that is default")
}

// A template that adds texts fails on arguments that are objects, and then gets them as Python writes JSON.
func TestArguments(t *testing.T) {
	objects, changed := ArgumentsAsObjects(jsontext.Value(
		`[{"function": {"name": "w", "arguments": " {\"city\": \"Rome\", \"a\": [1]} "}}, ` +
			`{"arguments": "{}", "x": {"y": {"arguments": "{}"}}}, {"arguments": "go"}]`))
	require.True(t, changed)
	require.JSONEq(t, `[{"function":{"name":"w","arguments":{"city": "Rome", "a": [1]}}},
		{"arguments":{},"x":{"y":{"arguments":"{}"}}},{"arguments":"go"}]`, string(objects))
	for _, same := range []string{`[{"arguments": {"a": 1}}]`, `[{"arguments": "[1]"}]`, `[{"arguments": "{"}]`, `[{`} {
		got, changed := ArgumentsAsObjects(jsontext.Value(same))
		require.False(t, changed)
		require.Equal(t, same, string(got))
	}

	chat := turns(user("a"), with(assistant("b"), "tool_calls", `[{"function":{"name":"w","arguments":{"city":"Rome","n":[1,2]}}}]`))
	const calls, end = `{% for m in messages %}{{ m.content }}{% for c in m.tool_calls %}`, `<|end|>{% endfor %}`
	for template, want := range map[string]string{
		calls + `{{ c.function.arguments | tojson }}{% endfor %}` + end: `{"city": "Rome", "n": [1, 2]}`,
		calls + `{{ '' + c.function.arguments }}{% endfor %}` + end:     `{"city": "Rome", "n": [1, 2]}`,
		calls + `{{ c.function.arguments.city }}{% endfor %}` + end:     `Rome`,
	} {
		tok := byteTokenizer(t)
		got, err := parsed(template, nil).Encode(tok, chat, TrainOnAll)
		require.NoError(t, err)
		require.Equal(t, "a<|end|>b"+want+"<|end|>", tok.Decode(got.Samples[0].IDs))
	}
	// So it is with a turn without content, and with both.
	chat.Messages[1].Content, chat.Messages[1].NoContent = "", true
	for template, want := range map[string]string{
		`{% for m in messages %}{{ m.content is defined }}` + end: "TrueFalse",
		`{% for m in messages %}{{ '' + m.content }}!` + end:      "a!!!",
		strings.Replace(calls, "m.content", "'' + m.content", 1) + `{{ '' + c.function.arguments }}{% endfor %}` +
			end: `a{"city": "Rome", "n": [1, 2]}`,
	} {
		tok := byteTokenizer(t)
		got, err := parsed(template, nil).Encode(tok, turns(append(chat.Messages, user(""))...), TrainOnAll)
		require.NoError(t, err)
		require.Equal(t, want, strings.ReplaceAll(strings.TrimSuffix(tok.Decode(got.Samples[0].IDs), "True<|end|>"), "<|end|>", ""))
	}

	_, err := parsed(`{% for m in messages %}{{ 1 + '' }}{% endfor %}`, nil).Encode(byteTokenizer(t), chat, TrainOnAll)
	require.ErrorContains(t, err, "template line 1")
	require.False(t, strings.Contains(err.Error(), "arguments"))
}
