// Package chat turns conversations into training samples with the model's own chat template: the text that the model
// was trained to see, its token ids, and which of them are to be learned.
package chat

import (
	"encoding/json/jsontext"
	"errors"
	"maps"
	"time"

	"qlora-wgpu/internal/chat/jinja"
	"qlora-wgpu/internal/usererr"
)

// Message is one turn of a conversation. What is empty is absent for the template, except for the content.
type Message struct {
	Role             string // system, user, assistant or tool
	Content          string
	ReasoningContent string         // what a reasoning model thought before it answered
	Name             string         // of the tool whose result this is
	ToolCallID       string         // of the call whose result this is
	ToolCalls        jsontext.Value // a list of calls in OpenAI's form, as JSON so that the order of members is kept
	Train            *bool          // false: an assistant turn that is not a training target
}

// Template is a chat template, read-only and safe for concurrent use.
type Template struct {
	template  *jinja.Template
	variables map[string]jinja.Value
	eos       string
	now       time.Time
}

// chatML is the most common format, for models that come without a template.
const chatML = `{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`

// Default is the ChatML template: <|im_start|>role, a line break, the content, <|im_end|>, a line break.
func Default() *Template {
	t, err := Parse(chatML, nil)
	if err != nil {
		panic(err)
	}
	return t
}

// Parse reads a Jinja2 template as Hugging Face's tokenizer_config.json and GGUF's tokenizer.chat_template hold it.
// tokens are the special tokens that it may name (bos_token, eos_token, …). A construct that is not supported, or a
// template beyond the limits of package jinja, is an Unsupported error with the line.
func Parse(source string, tokens map[string]string) (*Template, error) {
	t, err := jinja.Parse(source)
	if err != nil {
		return nil, templateError(err)
	}
	out := &Template{template: t, variables: map[string]jinja.Value{}, eos: tokens["eos_token"], now: time.Now()}
	for name, token := range tokens {
		out.variables[name] = token
	}
	return out, nil
}

// With is the template with one more variable, such as "tools" or "enable_thinking", given as JSON.
func (t *Template) With(name string, value jsontext.Value) (*Template, error) {
	v, err := jinja.FromJSON(value)
	if err != nil {
		return nil, usererr.New("apply chat template", "", "%w", err).Of(usererr.Format).At("variable %s", name)
	}
	out := *t
	out.variables = maps.Clone(t.variables)
	out.variables[name] = v
	return &out, nil
}

// Render gives the text of a conversation, with addGenerationPrompt up to where the assistant's next answer begins.
func (t *Template) Render(messages []Message, addGenerationPrompt bool) (string, error) {
	out, err := t.render(messages, addGenerationPrompt)
	return out.Text, err
}

func (t *Template) render(messages []Message, addGenerationPrompt bool) (jinja.Output, error) {
	list := make(jinja.List, len(messages))
	for i, m := range messages {
		v, err := m.value()
		if err != nil {
			return jinja.Output{}, usererr.New("apply chat template", "", "tool_calls: %w", err).Of(usererr.Format).At("message %d", i)
		}
		list[i] = v
	}
	variables := maps.Clone(t.variables)
	variables["messages"] = list
	variables["add_generation_prompt"] = addGenerationPrompt
	out, err := t.template.Render(variables, t.now)
	if err != nil {
		return jinja.Output{}, templateError(err)
	}
	return out, nil
}

func (m Message) value() (*jinja.Dict, error) {
	d := &jinja.Dict{}
	d.Set("role", m.Role)
	d.Set("content", m.Content)
	for _, field := range []struct{ name, value string }{
		{"reasoning_content", m.ReasoningContent}, {"name", m.Name}, {"tool_call_id", m.ToolCallID},
	} {
		if field.value != "" {
			d.Set(field.name, field.value)
		}
	}
	if len(m.ToolCalls) > 0 {
		calls, err := jinja.FromJSON(m.ToolCalls)
		if err != nil {
			return nil, err
		}
		d.Set("tool_calls", calls)
	}
	return d, nil
}

func templateError(err error) error {
	var e *jinja.Error
	if !errors.As(err, &e) {
		return err
	}
	out := usererr.New("apply chat template", "", "%s", e.Text).At("template line %d", e.Line)
	switch e.Reason {
	case jinja.Syntax:
		out.Of(usererr.Format)
	case jinja.Unsupported, jinja.Limit:
		out.Of(usererr.Unsupported).Hinted("choose another chat_template")
	case jinja.Raised:
		out.Hinted("the model's template does not take this conversation")
	}
	return out
}
