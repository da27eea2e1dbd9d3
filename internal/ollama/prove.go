//go:build !js

package ollama

import "fmt"

// contents of the probes: of several lines, with what templates and formats have a meaning for.
var contents = []string{
	"What is {{ 1 + 1 }} < 3 & \"4\"?", "Two lines:\n\n  ünïcode, 漢字, 🙂 and a\ttab", "{% if x %}'q' \\n #{{", "yes", "[a] * _b_ `c` <d>",
	"12 eggs", "- list\n- of\n  things.", "END?",
}

// prove compares what Ollama makes of conversations with what the model's template makes of them. The error names one
// that differs.
func (m model) prove(d *derived, takesSystem bool) error {
	for _, roles := range [][]string{
		{user}, {user, assistant, user}, {user, assistant, user, assistant, user}, {user, assistant}, {user, assistant, user, assistant},
		{system, user}, {system, user, assistant, user}, {system, user, assistant, user, assistant, user, assistant, user},
		{system, user, assistant}, {system, user, assistant, user, assistant},
	} {
		if roles[0] == system && !takesSystem {
			continue
		}
		for first := range 2 {
			for _, noThink := range []bool{false, true} {
				c := conversation{system: d.system, noThink: noThink}
				for i, role := range roles {
					turn := message{Role: role, Content: contents[(first*3+i)%len(contents)]}
					if role == assistant && first == 1 {
						turn.Thinking = "First\nthis, \"then\" that"
					}
					c.messages = append(c.messages, turn)
				}
				if same, err := m.same(d.template, c); err != nil {
					return err
				} else if !same {
					return fmt.Errorf("its template makes something of a conversation of %d messages that has no form in Ollama's language", len(roles))
				}
			}
		}
	}
	return nil
}

// same: Ollama makes the same text of a conversation as the model's template.
func (m model) same(template string, c conversation) (bool, error) {
	got, err := render(template, c)
	if err != nil {
		return false, err
	}
	want, err := m.text(c)
	return got == want, err
}
