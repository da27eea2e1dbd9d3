//go:build !js

package ollama

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"text/template"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/chat"
	"qlora-wgpu/internal/testfiles"
)

var today = time.Date(2026, 3, 5, 0, 0, 0, 0, time.UTC)

func of(source string) model {
	return model{bos: "<BOS>", now: today, template: chat.New(chat.Options{
		Templates: map[string]string{"default": source}, Tokens: map[string]string{"bos_token": "<BOS>", "eos_token": "</s>"},
	})}
}

func talk(contents ...string) (c conversation) {
	roles := map[string]string{"S": system, "A": assistant}
	for _, content := range contents {
		role := roles[content]
		if role == "" {
			role = user
		}
		c.messages = append(c.messages, message{Role: role, Content: content})
	}
	return c
}

// Ollama makes of conversations what the model's template makes of them, and a Modelfile holds its template.
func TestKnown(t *testing.T) {
	for _, c := range known {
		t.Run(c.name, func(t *testing.T) {
			d, err := of(c.source).derive()
			require.NoError(t, err)
			for _, probe := range []struct {
				contents []string
				want     string
			}{{[]string{"S", "U", "A", "V"}, c.want}, {[]string{"U"}, c.alone}} {
				if probe.want == "" {
					continue
				}
				asked := talk(probe.contents...)
				asked.system = d.system
				got, err := render(d.template, asked)
				require.NoError(t, err)
				require.Equal(t, probe.want, got, d.template)
			}
			require.True(t, expressible(d.template))
			require.Equal(t, strings.Contains(c.source, "strftime_now"), len(d.warnings) == 1, "%q", d.warnings)
			require.Equal(t, strings.Contains(c.source, "trim"), strings.Contains(strings.Join(d.notes, ""), "white space"))
		})
	}
}

func TestDefaultSystemMessage(t *testing.T) {
	d, err := of(known[1].source).derive()
	require.NoError(t, err)
	require.Equal(t, `Be kind: "yes".`, d.system)
}

// Ollama finds the marks of a thought by what stands around it, and a request may ask for none.
func TestThoughts(t *testing.T) {
	d, err := of(qwen3).derive()
	require.NoError(t, err)
	require.Contains(t, d.template, "{{ if .Thinking }}<think>\n{{ .Thinking }}\n</think>\n\n{{ else }}<think>\n\n</think>\n\n{{ end }}")
	got, err := render(d.template, conversation{noThink: true, messages: talk("U").messages})
	require.NoError(t, err)
	require.Equal(t, "<|im_start|>user\nU<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n", got)
}

// A template is known by what it writes: one character more, and it is another, of which the first is no form; where
// the character depends on more than the roles of neighbours, there is none.
func TestOneCharacter(t *testing.T) {
	for _, c := range known {
		d, err := of(c.source).derive()
		require.NoError(t, err)
		other := of(c.source + "{% if add_generation_prompt %}!{% endif %}")
		same, err := other.same(d.template, conversation{system: d.system, messages: talk("U").messages})
		require.NoError(t, err)
		require.False(t, same, c.name)
		_, err = of(c.source + "{% if messages|length == 5 %}!{% endif %}").derive()
		require.ErrorContains(t, err, "conversation of 5 messages", c.name)
	}
}

func TestUnknown(t *testing.T) {
	for want, source := range map[string]string{
		"not show every message once": "{{ messages[-1].content }}",
		"show every message once":     "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}",
		"unknown place": "{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}" +
			"{{ messages[0].content if messages[0].role == 'system' }}",
		"something else before the last": "{% for m in messages %}" +
			"{{ ('<' if loop.last and m.role == 'assistant' else '>') + m.content }}{% endfor %}",
		"something else before a thought": "{% for m in messages %}{{ ('T' + m.thinking if m.thinking else '>') + m.content }}" +
			"{% endfor %}",
		"conversation of": "{% for m in messages %}" +
			"{{ m.content|upper if m.content|length == 3 else m.content }}{% endfor %}",
		"a tag has no end": "{% for m in messages",
	} {
		_, err := of(source).derive()
		require.ErrorContains(t, err, want, source)
	}
}

func TestModelTemplates(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(testfiles.Reference(t, "chat_templates"), "*.jinja"))
	require.NoError(t, err)
	require.NotEmpty(t, paths)
	for _, path := range paths {
		source, err := os.ReadFile(path)
		require.NoError(t, err)
		_, err = of(string(source)).derive()
		require.NoError(t, err, path)
	}
}

// FuzzDerive: a stranger's template gives a form or a reason, and a form is one that Ollama can read.
func FuzzDerive(f *testing.F) {
	for _, c := range known {
		f.Add(c.source)
	}
	f.Fuzz(func(t *testing.T, source string) {
		m := of(source)
		end := time.Now().Add(2 * time.Second)
		m.template = m.template.Until(func() error {
			if time.Now().After(end) {
				return os.ErrDeadlineExceeded
			}
			return nil
		})
		d, err := m.derive()
		if err != nil {
			return
		}
		require.True(t, expressible(d.template))
		_, err = template.New("").Parse(d.template)
		require.NoError(t, err)
	})
}
