package chat

import (
	"encoding/json/jsontext"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/testfiles"
)

var thatDay = time.Date(2024, 12, 3, 0, 0, 0, 0, time.UTC)

// asked is a conversation of which these families' own templates lose something, or refuse it: the system's words, what
// is said beside a call, the second call, ids as OpenAI's API has them, and tools that move to the last question.
func asked() Conversation {
	chat := turns(
		Message{Role: "system", Content: "Be brief."}, user("a"),
		with(assistant("b"), "tool_calls", `[{"id":"call_0123456789","type":"function","function":{"name":"look","arguments":{"x":1}}},`+
			`{"id":"2","type":"function","function":{"name":"ask","arguments":{}}}]`),
		with(Message{Role: "tool", Content: "c"}, "tool_call_id", `"call_0123456789"`),
		with(Message{Role: "tool", Content: "d"}, "tool_call_id", `"2"`),
		assistant("e"), user("f"), assistant(" g "),
	)
	chat.Tools = jsontext.Value(`[{"type":"function","function":{"name":"look","parameters":{"y":2}}}]`)
	return chat
}

func TestTrainingTemplatesKeepWhatTheFamiliesOwnLoseOrRefuse(t *testing.T) {
	const (
		header = "<|start_header_id|>"
		ended  = "<|end_header_id|>\n\n"
		llama  = "<s>" + header + "system" + ended + "Environment: ipython\nCutting Knowledge Date: December 2023\nToday Date: "
		asks   = "\n\nBe brief.<|eot_id|>" + header + "user" + ended +
			"Given the following functions, please respond with a JSON for a function call with its proper arguments that best answers " +
			`the given prompt.` + "\n\n" + `Respond in the format {"name": function name, "parameters": dictionary of argument name and its ` +
			"value}.Do not use variables.\n\n{\n    \"type\": \"function\",\n    \"function\": {\n        \"name\": \"look\",\n        " +
			"\"parameters\": {\n            \"y\": 2\n        }\n    }\n}\n\na<|eot_id|>" + header + "assistant" + ended +
			`⟦b` + "\n" + `{"name": "look", "parameters": {"x": 1}}; {"name": "ask", "parameters": {}}<|eot_id|>⟧` +
			header + "ipython" + ended + `"c"<|eot_id|>` + header + "ipython" + ended + `"d"<|eot_id|>` +
			header + "assistant" + ended + "⟦e<|eot_id|>⟧" + header + "user" + ended + "f<|eot_id|>" +
			header + "assistant" + ended + "⟦g<|eot_id|>⟧"
		tool = `{"type": "function", "function": {"name": "look", "parameters": {"y": 2}}}][/AVAILABLE_TOOLS]`
	)
	for name, c := range map[string]struct {
		own, want string
		unseen    []string
	}{
		"Llama 3.1": {likeLlama31, llama + "26 Jul 2024" + asks, nil},
		"Llama 3.2": {likeLlama32, llama + "03 Dec 2024" + asks, nil},
		"Gemma": {likeGemma, "<s><start_of_turn>user\nBe brief.\n\na<end_of_turn>\n<start_of_turn>model\n⟦b<end_of_turn>⟧\n" +
			"<start_of_turn>tool\nc<end_of_turn>\n<start_of_turn>tool\nd<end_of_turn>\n<start_of_turn>model\n⟦e<end_of_turn>⟧\n" +
			"<start_of_turn>user\nf<end_of_turn>\n<start_of_turn>model\n⟦g<end_of_turn>⟧\n", []string{"tool calls", "tools"}},
		"Mistral": {likeMistral, "<s>[AVAILABLE_TOOLS] [" + tool + "[INST] Be brief.\n\na[/INST]" +
			`⟦ b[TOOL_CALLS] [{"name": "look", "arguments": {"x": 1}, "id": "123456789"}, {"name": "ask", "arguments": {}}]</s>⟧` +
			`[TOOL_RESULTS] {"content": c, "call_id": "123456789"}[/TOOL_RESULTS][TOOL_RESULTS] {"content": d}[/TOOL_RESULTS]` +
			"⟦ e</s>⟧[INST] f[/INST]⟦ g</s>⟧", nil},
		"Mistral Nemo": {likeNemo, "<s>[AVAILABLE_TOOLS][" + tool + "[INST]Be brief.\n\na[/INST]" +
			`⟦b[TOOL_CALLS][{"name": "look", "arguments": {"x": 1}, "id": "123456789"}, {"name": "ask", "arguments": {}}]</s>⟧` +
			`[TOOL_RESULTS]{"content": c, "call_id": "123456789"}[/TOOL_RESULTS][TOOL_RESULTS]{"content": d}[/TOOL_RESULTS]` +
			"⟦e</s>⟧[INST]f[/INST]⟦ g </s>⟧", nil},
	} {
		t.Run(name, func(t *testing.T) {
			tok := byteTokenizer(t)
			got, err := trainingTemplate(t, c.own).At(thatDay).Encode(tok, asked(), TrainOnAssistant)
			require.NoError(t, err)
			require.False(t, got.Rewritten)
			require.Equal(t, []string{c.want}, texts(tok, got))
			require.Equal(t, c.unseen, got.Unseen)
		})
	}
}

// Of a conversation of which a family's own template leaves out no more than the template for training, both make the
// same text.
func TestTrainingTemplatesWriteWhatTheFamiliesOwnDo(t *testing.T) {
	var fixture rendersJSON
	readJSON(t, "testdata/renders.json", &fixture)
	tok := byteTokenizer(t)
	for _, name := range []string{"llama3_1", "llama3_2", "gemma", "gemma3"} {
		source, err := os.ReadFile(testfiles.Reference(t, "chat_templates", name+".jinja"))
		require.NoError(t, err)
		own, trained := parsed(string(source), fixture.Tokens).At(fixture.Now), trainingTemplate(t, string(source)).At(fixture.Now)
		compared := 0
		for _, c := range fixture.Conversations {
			chat := turns(messages(c.Messages)...)
			chat.TemplateArgs = c.Args
			if c.Tools.Kind() == '[' {
				chat.Tools = c.Tools
			}
			left, err := own.Encode(tok, chat, TrainOnAll)
			if err != nil { // which it refuses
				continue
			}
			also, err := trained.Encode(tok, chat, TrainOnAll)
			require.NoError(t, err)
			require.Subset(t, left.Unseen, also.Unseen, "%s: %s", name, c.Name)
			if len(also.Unseen) < len(left.Unseen) {
				continue
			}
			for _, prompt := range []bool{false, true} {
				want, err := own.Render(chat, prompt)
				require.NoError(t, err)
				got, err := trained.Render(chat, prompt)
				require.NoError(t, err)
				require.Equal(t, want, got, "%s: %s", name, c.Name)
				compared++
			}
		}
		require.Greater(t, compared, 20, name)
	}
}

// What is learned of an answer is what is learned of it under the family's own template.
func TestTrainingTemplatesMarkWhatIsLearnedOfAnswers(t *testing.T) {
	tok := byteTokenizer(t)
	for _, name := range []string{"llama3_1", "llama3_2", "gemma", "gemma3"} {
		source, err := os.ReadFile(testfiles.Reference(t, "chat_templates", name+".jinja"))
		require.NoError(t, err)
		chat := turns(user("a"), assistant("b\nc"), user("d"), assistant("e"))
		want, err := parsed(string(source), map[string]string{"bos_token": "<s>", "eos_token": "</s>"}).At(thatDay).
			Encode(tok, chat, TrainOnAssistant)
		require.NoError(t, err)
		got, err := trainingTemplate(t, string(source)).At(thatDay).Encode(tok, chat, TrainOnAssistant)
		require.NoError(t, err)
		require.Equal(t, want, got, name)
	}
}

// The own templates of these, rendered by Jinja2, make these texts of one question, which lose nothing.
func TestTrainingTemplatesOfMistral(t *testing.T) {
	one := asked()
	calls := with(assistant(""), "tool_calls", `[{"id":"abcdefghi","type":"function","function":{"name":"look","arguments":{"x":1}}}]`)
	result := with(Message{Role: "tool", Content: "c"}, "tool_call_id", `"abcdefghi"`)
	for own, want := range map[string][]string{
		likeMistral: {
			`<s>[AVAILABLE_TOOLS] [{"type": "function", "function": {"name": "look", "parameters": {"y": 2}}}][/AVAILABLE_TOOLS]` +
				"[INST] Be brief.\n\na[/INST]",
			`<s>[AVAILABLE_TOOLS] [{"type": "function", "function": {"name": "look", "parameters": {"y": 2}}}][/AVAILABLE_TOOLS][INST] a[/INST]` +
				`[TOOL_CALLS] [{"name": "look", "arguments": {"x": 1}, "id": "abcdefghi"}]</s>` +
				`[TOOL_RESULTS] {"content": c, "call_id": "abcdefghi"}[/TOOL_RESULTS] e</s>`,
			"<s>[INST] a[/INST] b</s>[INST] c[/INST] d</s>",
		},
		likeNemo: {
			`<s>[AVAILABLE_TOOLS][{"type": "function", "function": {"name": "look", "parameters": {"y": 2}}}][/AVAILABLE_TOOLS]` +
				"[INST]Be brief.\n\na[/INST]",
			`<s>[AVAILABLE_TOOLS][{"type": "function", "function": {"name": "look", "parameters": {"y": 2}}}][/AVAILABLE_TOOLS][INST]a[/INST]` +
				`[TOOL_CALLS][{"name": "look", "arguments": {"x": 1}, "id": "abcdefghi"}]</s>` +
				`[TOOL_RESULTS]{"content": c, "call_id": "abcdefghi"}[/TOOL_RESULTS]e</s>`,
			"<s>[INST]a[/INST]b</s>[INST]c[/INST]d</s>",
		},
	} {
		template := trainingTemplate(t, own)
		plain := turns(user("a"), assistant("b"), user("c"), assistant("d"))
		for i, chat := range []Conversation{
			one.of(one.Messages[:2]), one.of([]Message{user("a"), calls, result, assistant("e")}), plain,
		} {
			got, err := template.Render(chat, i == 0)
			require.NoError(t, err)
			require.Equal(t, want[i], got)
		}
	}
}
