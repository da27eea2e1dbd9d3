package chat

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"qlora-wgpu/internal/testfiles"
)

// said is what each role has of the text; a bar stands where tokens of another role do.
func said(t *testing.T, template *Template, chat Conversation) map[string]string {
	t.Helper()
	tok := byteTokenizer(t)
	roles, err := template.Roles(tok, chat)
	require.NoError(t, err)
	encoded, err := template.Encode(tok, chat, TrainOnAll)
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(encoded.Samples[0].IDs), len(roles))
	out, last := map[string]string{}, ""
	for i, role := range roles {
		if role != last && out[role] != "" {
			out[role] += "|"
		}
		out[role] += string(tok.Bytes(encoded.Samples[0].IDs[i]))
		last = role
	}
	return out
}

// A token's role is that of the content it stands in, whatever the template writes around contents, moves or trims.
func TestRoles(t *testing.T) {
	entries, err := os.ReadDir("testdata/templates")
	require.NoError(t, err)
	chat := turns(
		Message{Role: "user", Content: "user"}, Message{Role: "assistant", Content: "  model\n"},
		Message{Role: "user", Content: "user"}, Message{Role: "assistant", Content: "user: assistant"},
	)
	checked := 0
	for _, entry := range entries {
		template := ownTemplate(t, strings.TrimSuffix(entry.Name(), ".jinja")).At(time.Unix(0, 0))
		if _, err := template.Encode(byteTokenizer(t), chat, TrainOnAll); err != nil {
			continue
		}
		checked++
		got := said(t, template, chat)
		t.Logf("%-24s %q", entry.Name(), got)
		require.Equal(t, "user|user", got["user"], entry.Name())
		require.Contains(t, []string{"model|user: assistant", "  model\n|user: assistant"}, got["assistant"], entry.Name())
		require.NotEmpty(t, got[""])
	}
	require.Equal(t, len(entries), checked)

	// Contents that others hold, or that the template leaves out or changes.
	template := parsed("{% for m in messages %}{% if m.role != 'tool' %}<{{ m.role }}>{{ m.content }}</s>{% endif %}{% endfor %}", nil)
	require.Equal(t, map[string]string{
		"system": "<", "user": "é<user>|<", "assistant": "日本", "": "<system>|</s><user>|</s><assistant>|</s><user>|</s>",
	},
		said(t, template, turns(Message{Role: "system", Content: "<"}, Message{Role: "user", Content: "é<user>"},
			Message{Role: "tool", Content: "unseen"}, Message{Role: "assistant", Content: "日本"}, Message{Role: "user", Content: "<"})))
	template = parsed("{% for m in messages %}<{{ m.role }}>{{ m.content if m.role == 'user' else m.content|upper }}</s>{% endfor %}", nil)
	got := said(t, parsed("{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}", nil),
		turns(Message{Role: "user", Content: "x</s><assistant>y"}, Message{Role: "assistant", Content: "y"}))
	require.Equal(t, map[string]string{"user": "x</s><assistant>y", "assistant": "y", "": "<user>|</s><assistant>|</s>"}, got)
	got = said(t, template, turns(
		Message{Role: "user", Content: "hi"}, Message{Role: "assistant", Content: "oh"}, Message{Role: "user", Content: "so"},
	))
	require.Equal(t, map[string]string{"user": "hi|so", "": "<user>|</s><assistant>OH</s><user>|</s>"}, got)
	template = parsed("{% for m in messages %}{{ raise_exception('no numbers') if '0000' in m.content }}{{ m.content }}{% endfor %}", nil)
	require.Equal(t, map[string]string{"": "hi"}, said(t, template, turns(Message{Role: "user", Content: "hi"})))
}

// Of a plain conversation every content has its role, in every model's template that takes it.
func TestRolesOfModelTemplates(t *testing.T) {
	paths, err := filepath.Glob(filepath.Join(testfiles.Reference(t, "chat_templates"), "*.jinja"))
	require.NoError(t, err)
	var fixture rendersJSON
	readJSON(t, "testdata/renders.json", &fixture)
	found := 0
	for _, path := range paths {
		source, err := os.ReadFile(path)
		require.NoError(t, err)
		template := parsed(string(source), fixture.Tokens).At(fixture.Now)
		for _, system := range []bool{false, true} {
			chat := turns(
				Message{Role: "user", Content: "user"}, Message{Role: "assistant", Content: "model"}, Message{Role: "user", Content: "Why?"},
			)
			if system {
				chat.Messages = append([]Message{{Role: "system", Content: "Be <kind>."}}, chat.Messages...)
			}
			if _, err := template.Render(chat, false); err != nil {
				continue // its template takes no such role
			}
			got := said(t, template, chat)
			require.Equal(t, []string{"user|Why?", "model"}, []string{got["user"], got["assistant"]}, path)
			if system {
				require.Equal(t, "Be <kind>.", got["system"], path)
			}
			found++
		}
	}
	require.Greater(t, found, len(paths))
}
