package processor

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/pretrained"
	"qlora-wgpu/internal/usererr"
)

// qwen3Like has what the family's template is told by.
const qwen3Like = `{# enable_thinking </think> </tool_response> {"name": " #}{% for m in messages %}<|im_start|>{{ m.role }}
{{ m.content }}<|im_end|>
{% endfor %}`

// A chat_template is a name of the model's, or training, or a file.
func TestChatTemplateByName(t *testing.T) {
	dir := folder(t, keys{
		"chat_template.jinja": qwen3Like, "additional_chat_templates/rag.jinja": "for documents",
		"additional_chat_templates/tool_use.jinja": "for tools",
	})
	model, err := pretrained.Open(dir)
	require.NoError(t, err)
	defer model.Close()
	files := map[string]string{"own.jinja": "of a file", "rag": "never read"}
	read := func(path string) (string, error) {
		if text, found := files[path]; found {
			return text, nil
		}
		return "", &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	for name, want := range map[string]string{
		"": "", "rag": "for documents", "tool_use": "for tools", "default": qwen3Like, "own.jinja": "of a file",
	} {
		got, err := ChatTemplate(model, name, read)
		require.NoError(t, err)
		require.Equal(t, want, got, name)
	}
	trained, err := ChatTemplate(model, "training", read)
	require.NoError(t, err)
	require.Contains(t, trained, "{%- generation %}")
	p, err := New(model, dir, Options{ChatTemplate: trained})
	require.NoError(t, err)
	targets, text := learned(t, p, question)
	require.Equal(t, "<|im_start|>user\nOne cup?<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nTwo cups.<|im_end|>\n", text)
	require.Equal(t, "<think>\n\n</think>\n\nTwo cups.<|im_end|>", targets)

	_, err = ChatTemplate(model, "nowhere", read)
	require.ErrorContains(t, err, "read chat template nowhere: ")
	require.ErrorContains(t, err, "chat_template is a file, or one of the names default, rag, tool_use, training")
	_, err = ChatTemplate(model, "x", func(string) (string, error) { return "", errors.New("broken disk") })
	require.ErrorContains(t, err, "broken disk")

	other, err := pretrained.Open(folder(t, keys{"chat_template.jinja": "plain"}))
	require.NoError(t, err)
	defer other.Close()
	_, err = ChatTemplate(other, "training", read)
	require.True(t, usererr.Is(err, usererr.Unsupported), "%v", err)
	require.ErrorContains(t, err, "these have: Qwen3 Thinking, Qwen3, DeepSeek-R1")
	files["training"] = "of a file of that name"
	_, err = ChatTemplate(other, "training", read)
	require.Error(t, err, "the name goes before a file")
}

func TestTemplateArgsReachTheTemplate(t *testing.T) {
	dir := folder(t, keys{"chat_template.jinja": "{{ greeting }}{% for m in messages %}{{ m.content }}{% endfor %}"})
	model, err := pretrained.Open(dir)
	require.NoError(t, err)
	defer model.Close()
	p, err := New(model, dir, Options{TemplateArgs: []byte(`{"greeting": "One "}`)})
	require.NoError(t, err)
	require.Empty(t, p.Warnings)
	misspelt, err := New(model, dir, Options{TemplateArgs: []byte(`{"greting": "One "}`)})
	require.NoError(t, err)
	require.Equal(t, []string{`The chat template has no variable "greting": what template_args gives it changes nothing.`}, misspelt.Warnings)
	prompt, err := p.Prompt("cup", "", false)
	require.NoError(t, err)
	ids := make([]int32, len(prompt.IDs))
	for i, id := range prompt.IDs {
		ids[i] = int32(id)
	}
	require.Equal(t, "One cup", p.Tokenizer.Decode(ids))
	_, err = New(model, dir, Options{TemplateArgs: []byte(`{"messages": []}`)})
	require.ErrorContains(t, err, "settings: template_args: messages cannot be given")
}

// A conversation that the model's own template refuses is learned with the one for training, where the family has one.
func TestARefusedConversationIsToldOfTheTemplateForTraining(t *testing.T) {
	own := `{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}` +
		"<start_of_turn>{{ m.content }}<end_of_turn>\n{% endfor %}"
	system := chat.Conversation{Messages: []chat.Message{
		{Role: "system", Content: "Be brief."}, {Role: "user", Content: "One cup?"}, {Role: "assistant", Content: "Two."},
	}}
	const alternate, way = "{# Conversation roles must alternate #}", "; its family has one for training: chat_template training)"
	for _, c := range []struct {
		template, given string
		told            bool
	}{{alternate + own, "", true}, {own, "", false}, {alternate + own, own, false}} {
		dir := folder(t, keys{"chat_template.jinja": c.template})
		model, err := pretrained.Open(dir)
		require.NoError(t, err)
		defer model.Close()
		p, err := New(model, dir, Options{ChatTemplate: c.given})
		require.NoError(t, err)
		_, err = p.Template.Encode(p.Tokenizer, system, chat.TrainOnAssistant)
		require.ErrorContains(t, err, "System role not supported (the model's template does not take this conversation")
		require.Equal(t, c.told, strings.HasSuffix(err.Error(), way), "%v", err)
		_, err = p.Template.Render(system, true)
		require.NotContains(t, err.Error(), "training", "it is not for answers")
	}
}
