//go:build !js

package ollama

import (
	"fmt"
	"slices"
	"strings"
)

// form is what templates differ in that can be written for Ollama.
type form struct {
	between separators
	// system stands in the last turn, where that is a user's, before its content: this in front of it, that behind it
	systemLast *around
	// continued is what stands before an answer that is to be continued, behind what stands before any; thought, what
	// stands there around what was thought. nil: thoughts are not written
	continued string
	thought   *around
	// unthought asks for an answer without a thought; nil: as for any
	unthought *string
}

// around is what stands in front of something and behind it.
type around struct{ front, behind string }

// template writes a form for Ollama.
func (f form) template() string {
	var out strings.Builder
	out.WriteString(`{{ $before := "" }}`)
	if f.systemLast != nil || f.continued != "" || f.thought != nil {
		out.WriteString(`{{ range $i, $_ := .Messages }}{{ $last := eq (len (slice $.Messages $i)) 1 }}`)
	} else {
		out.WriteString(`{{ range .Messages }}`)
	}
	out.WriteString(`{{ if eq .Role "user" }}` + f.before(user))
	if f.systemLast != nil {
		out.WriteString(`{{ if and $last $.System }}` +
			literal(f.systemLast.front) + `{{ $.System }}` + literal(f.systemLast.behind) + `{{ end }}`)
	}
	const content = `{{ .Content }}{{ $before = .Role }}`
	out.WriteString(content + `{{ else if eq .Role "assistant" }}` + f.answer() + content)
	if f.systemLast == nil {
		out.WriteString(`{{ else if eq .Role "system" }}` + f.before(system) + content)
	}
	out.WriteString(`{{ end }}{{ end }}{{ if ne $before "assistant" }}`)
	end := f.between[pair{user, none}]
	if f.unthought != nil {
		out.WriteString(choose([]choice{{"and $.IsThinkSet (not $.Think)", *f.unthought}}, end))
	} else {
		out.WriteString(literal(end))
	}
	out.WriteString(`{{ end }}`)
	return out.String()
}

// answer writes what stands before an answer. Ollama takes what stands around .Thinking for the marks of a thought.
func (f form) answer() string {
	last := literal(f.continued)
	if f.thought != nil {
		last = `{{ if .Thinking }}` + literal(f.thought.front) + `{{ .Thinking }}` + literal(f.thought.behind) + `{{ else }}` + last + `{{ end }}`
	}
	if last != "" {
		last = `{{ if $last }}` + last + `{{ end }}`
	}
	return f.before(assistant) + last
}

// before writes what stands before a content of a role, by the role of the turn before.
func (f form) before(role string) string {
	var texts []string
	conditions := map[string]string{}
	start, known := f.between[pair{none, role}]
	for _, previous := range []string{assistant, user, system} {
		text, after := f.between[pair{previous, role}]
		if !after || f.systemLast != nil && previous == system {
			continue
		}
		if !slices.Contains(texts, text) {
			texts = append(texts, text)
			conditions[text] = "eq $before"
		}
		conditions[text] += fmt.Sprintf(" %q", previous)
	}
	if len(texts) == 1 {
		conditions[texts[0]] = "$before"
	}
	var choices []choice
	for _, text := range texts {
		choices = append(choices, choice{conditions[text], text})
	}
	if !known && len(texts) > 0 {
		start = texts[0]
	}
	if len(texts) == 1 && texts[0] == start {
		choices = nil
	}
	return choose(choices, start)
}
