package chat

import (
	"encoding/json/jsontext"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/testfiles"
	"qlora-wgpu/internal/tokenizer"
	"qlora-wgpu/internal/usererr"
)

// byteTokenizer has the 256 bytes, a merge of two line breaks, and the special tokens of the templates.
func byteTokenizer(t testing.TB) *tokenizer.Tokenizer {
	v := tokenizer.Vocabulary{Model: "gpt2", Pre: "gpt-2", Merges: []string{"Ċ Ċ"}}
	next := rune(0x100)
	for b := range rune(256) {
		c := b
		if b < '!' || b > '~' && b < 0xA1 || b == 0xAD {
			c = next
			next++
		}
		v.Tokens, v.Types = append(v.Tokens, string(c)), append(v.Types, 1)
	}
	v.Tokens, v.Types = append(v.Tokens, "ĊĊ"), append(v.Types, 1)
	for _, special := range []string{
		"<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "<start_of_turn>", "<end_of_turn>",
		"<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>", "<|python_tag|>", "<|start|>", "<|channel|>", "<|message|>", "<|return|>",
	} {
		v.Tokens, v.Types = append(v.Tokens, special), append(v.Types, 3)
	}
	tok, err := tokenizer.FromVocabulary(v, "test")
	require.NoError(t, err)
	return tok
}

func ownTemplate(t testing.TB, name string) *Template {
	source, err := os.ReadFile("testdata/templates/" + name + ".jinja")
	require.NoError(t, err)
	return parsed(string(source), map[string]string{"bos_token": "<s>", "eos_token": "</s>"})
}

// parsed is a template of that source alone, whose answers end with the EOS token.
func parsed(source string, tokens map[string]string) *Template {
	return New(Options{Templates: map[string]string{"default": source}, Tokens: tokens, End: tokens["eos_token"]})
}

func turns(list ...Message) Conversation { return Conversation{Messages: list} }

// with is a message with fields, each a name and its JSON.
func with(m Message, fields ...string) Message {
	for i := 0; i < len(fields); i += 2 {
		m.Fields = append(m.Fields, Field{fields[i], jsontext.Value(fields[i+1])})
	}
	return m
}

// targets are the texts of the runs of target tokens, sample by sample.
func targets(tok *tokenizer.Tokenizer, encoded Encoded) []string {
	var out []string
	for _, e := range encoded.Samples {
		out = append(out, runs(tok, e)...)
	}
	return out
}

func runs(tok *tokenizer.Tokenizer, e Sample) (out []string) {
	for i := 0; i < len(e.IDs); i++ {
		start := i
		for i < len(e.IDs) && e.Target[i] {
			i++
		}
		if i > start {
			out = append(out, tok.Decode(e.IDs[start:i]))
		}
	}
	return out
}

func user(text string) Message      { return Message{Role: "user", Content: text} }
func assistant(text string) Message { return Message{Role: "assistant", Content: text} }

func TestTargets(t *testing.T) {
	tok := byteTokenizer(t)
	no, yes := false, true
	open := []Message{{Role: "system", Content: "Short."}, user("One?"), assistant("Two."), user("Three?"), assistant("Four."), user("Five?")}
	done := append(append([]Message{}, open...), assistant("Six."))
	skipped := append([]Message{}, done...)
	skipped[2].Train, skipped[4].Train = &no, &yes
	calls := `[{"function": {"name": "look", "arguments": {"b": 1, "a": "é"}}}]`
	tools := []Message{
		user("Weather?"), with(assistant(""), "tool_calls", calls), with(Message{Role: "tool", Content: "grey"}, "name", `"look"`),
		assistant("Grey."),
	}
	for _, c := range []struct {
		name, template string
		messages       []Message
		on             TrainOn
		want           []string
	}{
		{"every answer", "chatml", done, TrainOnAssistant, []string{"Two.<|im_end|>", "Four.<|im_end|>", "Six.<|im_end|>"}},
		{"last answer", "chatml", done, TrainOnLast, []string{"Six.<|im_end|>"}},
		{"last answer before a question", "chatml", open, TrainOnLast, []string{"Four.<|im_end|>"}},
		{"excluded answer", "chatml", skipped, TrainOnAssistant, []string{"Four.<|im_end|>", "Six.<|im_end|>"}},
		{
			"everything", "chatml", []Message{user("a"), assistant("b")}, TrainOnAll,
			[]string{"<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\nb<|im_end|>\n"},
		},
		{"no answer", "chatml", open[:2], TrainOnAssistant, nil},
		{"no messages", "chatml", nil, TrainOnAssistant, nil},
		{
			"two answers in a row", "chatml", []Message{user("a"), assistant("b"), assistant("c")}, TrainOnAssistant,
			[]string{"b<|im_end|>", "c<|im_end|>"},
		},
		{"answer first", "chatml", []Message{assistant("assistant"), user("a")}, TrainOnAssistant, []string{"assistant<|im_end|>"}},
		{"empty answer", "chatml", []Message{user("a"), assistant("")}, TrainOnAssistant, nil},
		{
			"end token inside", "chatml", []Message{user("<|im_end|>"), assistant("it is <|im_end|>, see")}, TrainOnAssistant,
			[]string{"it is <|im_end|>, see<|im_end|>"},
		},
		// The first two of three line breaks are one token that begins in the prompt.
		{"token across the start", "chatml", []Message{user("a"), assistant("\n\nx")}, TrainOnAssistant, []string{"\n\n\nx<|im_end|>"}},
		{"no special tokens", "plain", done, TrainOnAssistant, []string{"Two.\n", "Four.\n", "Six.\n</s>"}},
		{"no special tokens, everything", "plain", []Message{user("a"), assistant("b")}, TrainOnAll, []string{"User: a\nAssistant: b\n</s>"}},
		{"no special tokens, open", "plain", open, TrainOnLast, []string{"Four.\n"}},
		{"end token inside, none after", "plain", []Message{user("a"), assistant("<|end|> b")}, TrainOnAssistant, []string{"<|end|> b\n</s>"}},
		{"header like the answer", "plain", []Message{user("a"), assistant("Assistant")}, TrainOnAssistant, []string{"Assistant\n</s>"}},
		{"final EOS belongs to no turn", "final_eos", done, TrainOnAssistant, []string{"Two.<|end|>", "Four.<|end|>", "Six.<|end|>"}},
		{
			"calls but not results", "tools", tools, TrainOnAssistant,
			[]string{"<tool_call>look {\"b\": 1, \"a\": \"é\"}</tool_call><|im_end|>", "Grey.<|im_end|>"},
		},
		{"harmless thoughts", "rewriting", done, TrainOnAssistant, []string{"Two.<|im_end|>", "Four.<|im_end|>", "Six.<|im_end|>"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			template := ownTemplate(t, c.template)
			got, err := template.Encode(tok, turns(c.messages...), c.on)
			require.NoError(t, err)
			require.Equal(t, c.want, targets(tok, got))
			text, err := template.Render(turns(c.messages...), false)
			require.NoError(t, err)
			whole := tok.Decode(got.Samples[0].IDs)
			require.Equal(t, text, strings.TrimSuffix(whole, "</s>")+map[bool]string{true: "</s>"}[strings.HasSuffix(text, "</s>")])
			require.Equal(t, strings.Count(text, "<s>"), strings.Count(whole, "<s>"), "BOS is what the template writes")
		})
	}
}

func TestEncodeErrors(t *testing.T) {
	tok, yes := byteTokenizer(t), true
	_, err := ownTemplate(t, "chatml").Encode(tok, turns(Message{Role: "user", Content: "a", Train: &yes}, assistant("b")), TrainOnAssistant)
	require.ErrorContains(t, err, "message 0")
	require.ErrorContains(t, err, "a user turn cannot be trained on")

	_, err = ownTemplate(t, "chatml").Encode(tok, turns(make([]Message, maxMessages+1)...), TrainOnAssistant)
	require.ErrorContains(t, err, "more than 4096")

	_, err = ownTemplate(t, "final_eos").Encode(tok, turns(user("a"), Message{Role: "system", Content: "late"}), TrainOnAssistant)
	require.ErrorContains(t, err, "the system turn comes first")
	require.ErrorContains(t, err, "template line 4")

	_, err = ownTemplate(t, "tools").Encode(tok, turns(with(assistant(""), "tool_calls", `[{`)), TrainOnAssistant)
	require.True(t, usererr.Is(err, usererr.Format), "%v", err)
	require.ErrorContains(t, err, "message 0")

	bad := turns(user("a"), assistant("b"))
	bad.Tools = jsontext.Value(`[1] 2`)
	_, err = ownTemplate(t, "tools").Encode(tok, bad, TrainOnAssistant)
	require.True(t, usererr.Is(err, usererr.Format), "%v", err)

	answerless := parsed(`{% for m in messages %}{{ m.role }} {{ m.content | length }} {{ m.content }};{% endfor %}`, nil)
	_, err = answerless.Encode(tok, turns(user("a"), assistant("b")), TrainOnAssistant)
	require.True(t, usererr.Is(err, usererr.Unsupported), "%v", err)

	for source, kind := range map[string]usererr.Kind{
		"a\n{{ 1 +": usererr.Format, "a\n{% include 'x' %}": usererr.Unsupported, "\n{{ x | frobnicate }}": usererr.Unsupported,
	} {
		broken := parsed(source, nil) // an error where it is used, not before
		_, err := broken.Render(turns(user("a")), true)
		require.True(t, usererr.Is(err, kind), "%v", err)
		require.ErrorContains(t, err, "template line 2")
	}
}

// With the templates of real models every answer is learned up to its end-of-turn token, in one sample, or in samples
// of their own where the template writes turns differently later.
func TestTargetsOfModelTemplates(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(testfiles.Reference(t, "chat_templates"), "*.jinja"))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	tok := byteTokenizer(t)
	answers := []string{"Two.", "It is four.", "Six"}
	messages := []Message{user("One?"), assistant(answers[0]), user("Three?"), assistant(answers[1]), user("Five?"), assistant(answers[2])}
	for _, path := range paths {
		t.Run(filepath.Base(path), func(t *testing.T) {
			source, err := os.ReadFile(path)
			require.NoError(t, err)
			template := parsed(string(source), map[string]string{"bos_token": "<s>", "eos_token": "</s>"})
			encoded, err := template.Encode(tok, turns(messages...), TrainOnLast)
			require.NoError(t, err)
			last := targets(tok, encoded)
			require.Len(t, last, 1)
			before, rest, found := strings.Cut(last[0], answers[2])
			require.True(t, found, last[0])
			end, ok := tok.ID(rest)
			require.True(t, ok && tok.IsSpecial(end), "%q is no end of turn", rest)

			encoded, err = template.Encode(tok, turns(messages...), TrainOnAssistant)
			require.NoError(t, err)
			require.Equal(t, before != "", encoded.Rewritten, "only a template that writes more than the answer rewrites it")
			var want []string
			for _, a := range answers {
				want = append(want, before+a+rest)
			}
			require.Equal(t, want, targets(tok, encoded))
			require.Len(t, encoded.Samples, map[bool]int{false: 1, true: 3}[encoded.Rewritten])
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	tok, template := model(b)
	var messages []Message
	for range 4 {
		messages = append(messages, user(strings.Repeat("What does the river carry? ", 20)),
			assistant(strings.Repeat("Mud, leaves and boats. ", 20)))
	}
	for b.Loop() {
		if _, err := template.Encode(tok, turns(messages...), TrainOnAssistant); err != nil {
			b.Fatal(err)
		}
	}
}

// The text of a long answer is tokenized a few times, not once for each of its tokens.
func TestEncodeWorkGrowsWithTheText(t *testing.T) {
	tok := byteTokenizer(t)
	chat, template := turns(user("a"), assistant(strings.Repeat("b", 4000))), ownTemplate(t, "chatml")
	text, err := template.Render(chat, false)
	require.NoError(t, err)
	allocated := func(do func()) uint64 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		do()
		runtime.ReadMemStats(&after)
		return after.TotalAlloc - before.TotalAlloc
	}
	once := allocated(func() { tok.Encode(text) })
	all := allocated(func() { _, err = template.Encode(tok, chat, TrainOnAssistant) })
	require.NoError(t, err)
	require.Less(t, all, 100*once)
}
