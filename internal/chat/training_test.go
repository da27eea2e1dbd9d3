package chat

import (
	"encoding/json/jsontext"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/chat/training"
	"qlora-wgpu/internal/testfiles"
)

// Templates that have what a family's template is told by.
const (
	likeQwen3    = `<|im_start|> enable_thinking </think> </tool_response> {"name": "`
	likeThinking = `<|im_start|>assistant\n<think>\n </think> </tool_response> {"name": "`
	likeR1       = `<｜Assistant｜><think>\n </think> <｜tool▁outputs▁begin｜>`
	likeLlama31  = "<|start_header_id|>ipython<|end_header_id|> only supports single tool-calls tools_in_user_message"
	likeLlama32  = likeLlama31 + " strftime_now"
	likeGemma    = "<start_of_turn> <end_of_turn> Conversation roles must alternate"
	likeMistral  = "[AVAILABLE_TOOLS] [ [TOOL_CALLS] [ user_messages[-1]"
	likeNemo     = "[AVAILABLE_TOOLS][ [TOOL_CALLS][ user_messages[-1]"
)

func trainingTemplate(t *testing.T, own string) *Template {
	source, err := training.For(own)
	require.NoError(t, err)
	return parsed(source, map[string]string{"bos_token": "<s>", "eos_token": "</s>"})
}

// With a training template a conversation stays one sample, and all that was thought, called and said is in it.
func TestTrainingTemplatesKeepThoughts(t *testing.T) {
	tok := byteTokenizer(t)
	calls := `[{"type":"function","function":{"name":"look","arguments":{"b":1}}},` +
		`{"type":"function","function":{"name":"ask","arguments":"{}"}}]`
	chat := turns(
		Message{Role: "system", Content: "Be brief."}, user("a"), with(assistant("b"), "reasoning_content", `"hm"`), user("c"),
		with(assistant("d"), "reasoning_content", `"so"`, "tool_calls", calls),
		Message{Role: "tool", Content: "e"}, Message{Role: "tool", Content: "f"},
		assistant("<think>\nah\n</think>\n\ng"), user("h"), assistant("i"),
	)
	chat.Tools = jsontext.Value(`[{"type":"function","function":{"name":"look"}}]`)
	for name, c := range map[string]struct {
		own, prompt string
		want        []string
		unseen      []string
	}{
		"Qwen3": {likeQwen3, "<|im_start|>assistant\n", []string{
			"<think>\nhm\n</think>\n\nb<|im_end|>",
			"<think>\nso\n</think>\n\nd\n<tool_call>\n{\"name\": \"look\", \"arguments\": {\"b\": 1}}\n</tool_call>\n" +
				"<tool_call>\n{\"name\": \"ask\", \"arguments\": {}}\n</tool_call><|im_end|>",
			"<think>\nah\n</think>\n\ng<|im_end|>", "<think>\n\n</think>\n\ni<|im_end|>",
		}, nil},
		"Qwen3 Thinking": {likeThinking, "<|im_start|>assistant\n<think>\n", []string{
			"hm\n</think>\n\nb<|im_end|>",
			"so\n</think>\n\nd\n<tool_call>\n{\"name\": \"look\", \"arguments\": {\"b\": 1}}\n</tool_call>\n" +
				"<tool_call>\n{\"name\": \"ask\", \"arguments\": {}}\n</tool_call><|im_end|>",
			"ah\n</think>\n\ng<|im_end|>", "\n</think>\n\ni<|im_end|>",
		}, nil},
		"DeepSeek-R1": {likeR1, "<｜Assistant｜><think>\n", []string{
			"hm\n</think>\n\nb<｜end▁of▁sentence｜>",
			"so\n</think>\n\nd<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>look\n```json\n{\"b\": 1}\n```<｜tool▁call▁end｜>\n" +
				"<｜tool▁call▁begin｜>function<｜tool▁sep｜>ask\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜><｜end▁of▁sentence｜>",
			"<think>\nah\n</think>\n\ng<｜end▁of▁sentence｜>", "\n</think>\n\ni<｜end▁of▁sentence｜>",
		}, []string{"tools"}}, // the family's own template shows none either
	} {
		t.Run(name, func(t *testing.T) {
			template := trainingTemplate(t, c.own)
			got, err := template.Encode(tok, chat, TrainOnAssistant)
			require.NoError(t, err)
			require.False(t, got.Rewritten)
			require.Equal(t, c.want, targets(tok, got))
			require.Equal(t, c.unseen, got.Unseen)
			text, err := template.Render(turns(user("a")), true)
			require.NoError(t, err)
			require.True(t, strings.HasSuffix(text, c.prompt), text)
		})
	}
}

// A conversation that begins the same is written the same up to there, so that nothing is ever rewritten.
func TestTrainingTemplatesArePrefixPreserving(t *testing.T) {
	var fixture rendersJSON
	readJSON(t, "testdata/renders.json", &fixture)
	for _, own := range []string{
		likeQwen3, likeThinking, likeR1, likeLlama31, likeLlama32, likeGemma, likeMistral, likeNemo,
	} {
		template := trainingTemplate(t, own)
		for _, c := range fixture.Conversations {
			chat := turns(messages(c.Messages)...)
			chat.TemplateArgs = c.Args
			if c.Tools.Kind() == '[' {
				chat.Tools = c.Tools
			}
			whole, err := template.Render(chat, false)
			require.NoError(t, err)
			for i, m := range chat.Messages {
				if !isAssistant(m) {
					continue
				}
				begun, err := template.Render(chat.of(chat.Messages[:i+1]), false)
				require.NoError(t, err)
				require.True(t, strings.HasPrefix(whole, begun), "%s: %q", c.Name, begun)
				prompt, err := template.Render(chat.of(chat.Messages[:i]), true)
				require.NoError(t, err)
				if !strings.HasSuffix(prompt, "</think>\n\n") { // which asks for no thought, also where the row has one
					require.True(t, strings.HasPrefix(begun, prompt), "%s: %q does not begin with %q", c.Name, begun, prompt)
				}
			}
		}
	}
}

// What Qwen3's own template writes of one answer is what its training template writes.
func TestTrainingTemplateOfQwen3(t *testing.T) {
	source, err := os.ReadFile(testfiles.Reference(t, "chat_templates", "qwen3.jinja"))
	require.NoError(t, err)
	own, trained := parsed(string(source), nil), trainingTemplate(t, string(source))
	var fixture rendersJSON
	readJSON(t, "testdata/renders.json", &fixture)
	compared := 0
	for _, c := range fixture.Conversations {
		chat := turns(messages(c.Messages)...)
		chat.TemplateArgs = c.Args
		if c.Tools.Kind() == '[' {
			chat.Tools = c.Tools
		}
		at := slices.IndexFunc(chat.Messages, isAssistant)
		for _, prompt := range []bool{false, true} {
			if at >= 0 && (at < len(chat.Messages)-1 || prompt) { // where the own one leaves thoughts out
				continue
			}
			want, err := own.Render(chat, prompt)
			require.NoError(t, err)
			got, err := trained.Render(chat, prompt)
			require.NoError(t, err)
			require.Equal(t, want, got, c.Name)
			compared++
		}
	}
	require.Greater(t, compared, 10)
}

func TestTrainingTemplatesOfOtherFamilies(t *testing.T) {
	for _, own := range []string{
		"", ChatML, likeQwen3 + "<function=", "<｜Assistant｜> </think> <｜tool▁outputs▁begin｜>", likeGemma + "<start_function_call>",
		likeMistral + "[SYSTEM_PROMPT]", likeNemo + "[SYSTEM_PROMPT]", "<|start_header_id|>ipython<|end_header_id|>",
	} {
		_, err := training.For(own)
		require.ErrorContains(t, err, "these have: Qwen3 Thinking, Qwen3, DeepSeek-R1, Llama 3.1 and 3.3, Llama 3.2, Gemma 2 and 3, "+
			"Mistral 7B 0.3, Mistral Nemo", own)
	}
}
