//go:build !js

package ollama

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"qlora-wgpu/internal/pretrained"
)

// derived is a template for Ollama that gives the same texts as the model's own.
type derived struct {
	template string
	system   string   // the system message that the model's template writes where nobody gives one
	notes    []string // what a reader of the Modelfile should know
	warnings []string
}

const (
	trimmed = "The model's own template leaves out white space around a message; Ollama's language cannot, and a message " +
		"with such white space is written with it."
	refusesSystem = "The model's own template refuses system messages. Here one is written in front of the first user's message, " +
		"with an empty line between."
	ownTemplate = "Ollama from 0.30 on renders with the model's own template in the GGUF file, which gives the same texts, since " +
		"that one knows %s as well. Where OLLAMA_GO_TEMPLATE=1 is set, and in older versions, this one counts."
	dated = "The chat template writes the date; Ollama's language has none in that form: the Modelfile keeps %s, " +
		"the day on which it was written."
)

// derive reads a form off what the model's template writes, and proves that Ollama then gives the same texts. The error
// says why there is none.
func (m model) derive() (*derived, error) {
	s, err := m.read()
	if err != nil {
		return nil, err
	}
	out, f := &derived{}, form{between: s}
	takesSystem, err := m.placeSystem(&f)
	if err != nil {
		return nil, err
	}
	if !takesSystem {
		s[pair{none, system}], s[pair{system, user}] = s[pair{none, user}], "\n\n"
		out.notes = append(out.notes, refusesSystem)
	}
	if f.systemLast == nil {
		out.system = defaultSystem(s)
	}
	if out.system != "" {
		delete(s, pair{none, assistant}) // a system message always stands before it
	}
	if err := m.readThoughts(&f); err != nil {
		return nil, err
	}
	out.template = f.template()
	if err := m.prove(out, takesSystem); err != nil {
		return nil, err
	}
	m.describe(out, f.thought != nil)
	return out, nil
}

// placeSystem finds where the template writes a system message: first, or in the last turn. false: it takes none.
func (m model) placeSystem(f *form) (takes bool, err error) {
	order, texts, err := m.between(false, system, user, assistant, user)
	if err != nil {
		return false, nil
	}
	if slices.IsSorted(order) {
		return true, nil
	}
	front, found := strings.CutPrefix(texts[2], f.between[pair{assistant, user}])
	if !slices.Equal(order, []int{1, 2, 0, 3}) || !found {
		return false, errors.New("its template writes the system message in an unknown place")
	}
	f.systemLast = &around{front, texts[3]}
	return true, nil
}

// defaultSystem is the system message that stands where nobody gives one.
func defaultSystem(s separators) string {
	front, behind, without := s[pair{none, system}], s[pair{system, user}], s[pair{none, user}]
	text, begins := strings.CutPrefix(without, front)
	text, ends := strings.CutSuffix(text, behind)
	if !begins || !ends || !expressible(text) || strings.TrimSpace(text) != text {
		return ""
	}
	return text
}

// readThoughts finds what the template writes before the last answer alone, and where it is asked not to think.
func (m model) readThoughts(f *form) error {
	any := f.between[pair{user, assistant}]
	_, last, err := m.between(false, user, assistant)
	if err != nil {
		return err
	}
	var found bool
	if f.continued, found = strings.CutPrefix(last[1], any); !found {
		return errors.New("its template writes something else before the last answer than before others")
	}
	if _, without, err := m.between(true, user); err == nil && without[1] != f.between[pair{user, none}] {
		f.unthought = &without[1]
	}
	thought := conversation{messages: []message{{Role: user, Content: mark(0)}, {Role: assistant, Content: mark(1), Thinking: mark(2)}}}
	text, err := m.text(thought)
	asks, rest, found := strings.Cut(text, mark(0))
	front, behind, shows := strings.Cut(rest, mark(2))
	if err != nil || !found || !shows {
		return err
	}
	if front, found = strings.CutPrefix(front, any); !found || asks != f.between[pair{none, user}] {
		return errors.New("its template writes something else before a thought than before an answer")
	}
	f.thought = &around{front, strings.TrimSuffix(behind, mark(1))}
	return nil
}

// describe adds what is to be said of a template that is proven.
func (m model) describe(out *derived, thinks bool) {
	padded := conversation{messages: []message{{Role: user, Content: " \n" + mark(0) + " \n"}}, system: out.system}
	if same, err := m.same(out.template, padded); err == nil && !same {
		out.notes = append(out.notes, trimmed)
	}
	if own := m.template.Templates[pretrained.DefaultTemplate]; strings.Contains(own, "tools") || strings.Contains(own, "tool_call") {
		out.notes = append(out.notes, fmt.Sprintf(ownTemplate, "tools"))
	} else if !thinks && strings.Contains(own, "<think>") && strings.Contains(own, "</think>") {
		out.notes = append(out.notes, fmt.Sprintf(ownTemplate, "thoughts"))
	}
	if m.dated() {
		out.warnings = append(out.warnings, fmt.Sprintf(dated, m.now.Format(time.DateOnly)))
	}
	out.notes = slices.Concat(out.notes, out.warnings)
}

// dated: what the template writes depends on the day.
func (m model) dated() bool {
	other := m
	for _, days := range []int{1, 40, 400} { // another day, month and year
		other.now = m.now.AddDate(0, 0, days)
		for _, c := range []conversation{
			{messages: []message{{Role: user, Content: mark(0)}}},
			{messages: []message{{Role: system, Content: mark(0)}, {Role: user, Content: mark(1)}}},
		} {
			today, err := m.text(c)
			then, thenErr := other.text(c)
			if err == nil && thenErr == nil && today != then {
				return true
			}
		}
	}
	return false
}
