// Package chat turns conversations into training samples with the model's own chat template: the text that the model
// was trained to see, its token ids, and which of them are to be learned.
package chat

import (
	"encoding/json/jsontext"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"qlora-wgpu/internal/chat/jinja"
	"qlora-wgpu/internal/usererr"
)

// Conversation is what a template renders.
type Conversation struct {
	Messages []Message
	// schemas that the conversation may call, a JSON list for the template's variable "tools"; nil without
	Tools jsontext.Value
	// further variables of the template, a JSON object; they go before the model's. nil without
	TemplateArgs jsontext.Value
}

// Message is one turn of a conversation.
type Message struct {
	Role      string // system, user, assistant or tool
	Content   string
	NoContent bool // the row has none: templates find it undefined, as in transformers
	Fields    []Field
	Train     *bool // false: an assistant turn that is not a training target
}

// Field is what else a turn holds: reasoning_content, name, tool_calls, …
type Field struct {
	Name  string
	Value jsontext.Value // as JSON, so that the order of members is kept; never null
}

// Field is the value of a field, nil where there is none.
func (m Message) Field(name string) jsontext.Value {
	for _, f := range m.Fields {
		if f.Name == name {
			return f.Value
		}
	}
	return nil
}

// Options are what a model and a run give their chat templates.
type Options struct {
	// Jinja2 sources by name, as Hugging Face's tokenizer_config.json and GGUF's tokenizer.chat_template hold them. A
	// conversation with tools takes "tool_use" where there is one, any other "default".
	Templates map[string]string
	Tokens    map[string]string // special tokens that templates may name: bos_token, eos_token, …
	// End is the token that ends an answer where the template writes no special one; empty: none is known.
	End string
	Now time.Time // the date that templates see
	// further variables of templates, a JSON object; nil without. See CheckTemplateArgs
	TemplateArgs jsontext.Value
	// ForTraining: the model's family has a template for training, and this is another one.
	ForTraining bool
}

// Template is the chat template of a model, or several by name. Read-only and safe for concurrent use.
type Template struct {
	named map[string]func() (*jinja.Template, error) // parsed when they are first needed
	stop  func() error                               // see Until; nil: never
	Options
}

// Names of templates, as in transformers.
const (
	defaultName = "default"
	toolUseName = "tool_use"
)

// New makes a Template. Nothing is parsed yet: a template that is never used may be of any kind.
func New(o Options) *Template {
	t := &Template{named: map[string]func() (*jinja.Template, error){}, Options: o}
	for name, source := range o.Templates {
		t.named[name] = sync.OnceValues(func() (*jinja.Template, error) {
			parsed, err := jinja.Parse(source)
			if err != nil {
				return nil, templateError(err)
			}
			return parsed, nil
		})
	}
	return t
}

// At is the template on another date.
func (t *Template) At(now time.Time) *Template {
	out := *t
	out.Now = now
	return &out
}

// ChatML is the most common format, for models that come without a template: <|im_start|>role, a line break, the
// content, the end of the turn, a line break. Its tokens are begin_of_text, which may be empty, and end_of_turn.
const ChatML = `{{ begin_of_text }}{% for message in messages %}
{{- '<|im_start|>' + message['role'] + '\n' + message['content'] + end_of_turn + '\n' }}{% endfor %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}`

// choose is the template for a conversation. A construct that is not supported, or a template beyond the limits of
// package jinja, is an Unsupported error with the line.
func (t *Template) choose(c Conversation) (*jinja.Template, error) {
	parse, found := t.named[toolUseName]
	if c.Tools == nil || !found {
		parse, found = t.named[defaultName]
	}
	if !found {
		return nil, usererr.New("apply chat template", "", "the model has templates of several names (%s), and none that is %s",
			strings.Join(slices.Sorted(maps.Keys(t.named)), ", "), defaultName).Hinted("give one as chat_template")
	}
	return parse()
}

// Render gives the text of a conversation, with addGenerationPrompt up to where the assistant's next answer begins.
func (t *Template) Render(c Conversation, addGenerationPrompt bool) (string, error) {
	out, err := t.render(c, addGenerationPrompt)
	return out.Text, err
}

// render renders a conversation with the variables that transformers passes (apply_chat_template).
func (t *Template) render(c Conversation, addGenerationPrompt bool) (jinja.Output, error) {
	if t.stop != nil {
		if err := t.stop(); err != nil {
			return jinja.Output{}, err
		}
	}
	template, err := t.choose(c)
	if err != nil {
		return jinja.Output{}, err
	}
	list := make(jinja.List, len(c.Messages))
	for i, m := range c.Messages {
		if list[i], err = m.value(); err != nil {
			return jinja.Output{}, usererr.New("apply chat template", "", "%w", err).Of(usererr.Format).At("message %d", i)
		}
	}
	variables := map[string]jinja.Value{
		"messages": list, "add_generation_prompt": addGenerationPrompt, "tools": nil, "documents": nil,
	}
	for name, token := range t.Tokens {
		variables[name] = token
	}
	for _, args := range []jsontext.Value{t.TemplateArgs, c.TemplateArgs} {
		if err := addArgs(variables, args); err != nil {
			return jinja.Output{}, usererr.New("apply chat template", "", "%w", err).Of(usererr.Format).At("template arguments")
		}
	}
	if c.Tools != nil {
		if variables["tools"], err = jinja.FromJSON(c.Tools); err != nil {
			return jinja.Output{}, usererr.New("apply chat template", "", "%w", err).Of(usererr.Format).At("tools")
		}
	}
	out, err := template.Render(variables, t.Now)
	if err != nil {
		return jinja.Output{}, templateError(err)
	}
	return out, nil
}

// reasoningFields are the names under which data sets hold what a model thought before it answered; templates find it
// under the first two, whichever the row has (_alias_reasoning_fields in transformers).
var reasoningFields = []string{"reasoning_content", "thinking", "reasoning"}

func (m Message) value() (*jinja.Dict, error) {
	d := &jinja.Dict{}
	d.Set("role", m.Role)
	if !m.NoContent {
		d.Set("content", m.Content)
	}
	for _, f := range m.Fields {
		v, err := jinja.FromJSON(f.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		d.Set(f.Name, v)
	}
	for _, name := range reasoningFields {
		if value := m.Field(name); value != nil {
			thought, err := jinja.FromJSON(value)
			d.Set(reasoningFields[0], thought)
			if m.Field(reasoningFields[1]) == nil {
				d.Set(reasoningFields[1], thought)
			}
			return d, err
		}
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
