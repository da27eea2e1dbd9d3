package chat

import (
	"encoding/json/jsontext"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What a template may leave out of a conversation.
const (
	unseenTools     = "tools"
	unseenCalls     = "tool calls"
	unseenReasoning = "reasoning"
	unseenNames     = "names"
	unseenContent   = "turns"
)

// part is something of a conversation of which a marked copy tells whether it gets into the text.
type part struct {
	what  string
	turn  int // -1: of the whole conversation
	marks []string
	shown bool
}

// seen says what of a conversation gets into the text.
type seen struct {
	parts []*part
	all   bool // all of them are known to show
	marks int
}

// probe marks every text of a copy of the conversation and looks for the marks in what the template makes of it. Where
// the template fails on the copy, all counts as shown.
func (c *conversation) probe() seen {
	var s seen
	copied := Conversation{slices.Clone(c.Messages), c.Tools}
	plain := c.Tools == nil
	for i, m := range c.Messages {
		plain = plain && len(m.Fields) == 0 && strings.Contains(c.whole.Text, strings.TrimSpace(m.Content))
		copied.Messages[i] = s.mark(i, m)
	}
	if plain { // each content stands in the text as it is
		s.all = true
		return s
	}
	if c.Tools != nil {
		tools := s.add(unseenTools, -1)
		copied.Tools, _ = rewriteJSON(c.Tools, func(_ string, value jsontext.Value) (jsontext.Value, bool) {
			return s.markString(tools, value)
		})
	}
	text, err := c.t.render(copied, false)
	for _, p := range s.parts {
		p.shown = err != nil || slices.ContainsFunc(p.marks, func(mark string) bool { return strings.Contains(text.Text, mark) })
	}
	return s
}

// turn tells whether something of an assistant turn shows that can be learned.
func (s seen) turn(i int) bool {
	return slices.ContainsFunc(s.parts, func(p *part) bool {
		return p.turn == i && p.what != unseenNames && (p.shown || s.all)
	})
}

// missing are the names of what does not show.
func (s seen) missing() (names []string) {
	for _, p := range s.parts {
		if !p.shown && !s.all && !slices.Contains(names, p.what) {
			names = append(names, p.what)
		}
	}
	slices.Sort(names)
	return names
}

func (s *seen) add(what string, turn int) *part {
	p := &part{what: what, turn: turn}
	s.parts = append(s.parts, p)
	return p
}

// newMark is a text that no conversation has and that templates pass through.
func (s *seen) newMark(p *part) string {
	mark := fmt.Sprintf("\uE000%d\uE001", s.marks)
	s.marks++
	p.marks = append(p.marks, mark)
	return mark
}

// mark is a turn with a mark in each of its texts.
func (s *seen) mark(i int, m Message) Message {
	const endOfThought = "</think>"
	thought, answer := "", m.Content
	if at := strings.LastIndex(m.Content, endOfThought); at >= 0 && m.Role == "assistant" {
		thought, answer = m.Content[:at+len(endOfThought)], m.Content[at+len(endOfThought):]
		if inner := strings.TrimSuffix(thought, endOfThought); strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(inner), "<think>")) != "" {
			thought = insert(inner, s.newMark(s.add(unseenReasoning, i))) + endOfThought
		}
	}
	if strings.TrimSpace(answer) != "" {
		answer = insert(answer, s.newMark(s.add(unseenContent, i)))
	}
	m.Content = thought + answer
	fields := slices.Clone(m.Fields)
	for k, f := range fields {
		fields[k].Value = s.markField(i, f)
	}
	m.Fields = fields
	return m
}

// markField marks the texts of a field; ids are no content, and arguments may be shown or not beside the name.
func (s *seen) markField(turn int, f Field) jsontext.Value {
	what := fmt.Sprintf("fields %q", f.Name)
	switch {
	case f.Name == "tool_call_id", isEmpty(f.Value):
		return f.Value
	case f.Name == "name":
		what = unseenNames
	case slices.Contains(reasoningFields, f.Name):
		what = unseenReasoning
	case slices.Contains(callFields, f.Name):
		what = unseenCalls
	}
	if what != unseenCalls {
		p := s.add(what, turn)
		value, _ := rewriteJSON(f.Value, func(_ string, value jsontext.Value) (jsontext.Value, bool) { return s.markString(p, value) })
		return value
	}
	names, arguments := s.add(what, turn), &part{what: what, turn: turn}
	value, _ := rewriteJSON(f.Value, func(at string, value jsontext.Value) (jsontext.Value, bool) {
		switch {
		case strings.Contains(at, "/arguments"):
			return s.markString(arguments, value)
		case strings.HasSuffix(at, "/name"):
			return s.markString(names, value)
		}
		return nil, false
	})
	if len(arguments.marks) > 0 {
		s.parts = append(s.parts, arguments)
	}
	return value
}

func isEmpty(value jsontext.Value) bool {
	return slices.Contains([]string{`""`, "[]", "{}"}, string(value))
}

// markString marks a JSON string that is not empty.
func (s *seen) markString(p *part, value jsontext.Value) (jsontext.Value, bool) {
	if value.Kind() != jsontext.KindString {
		return nil, false
	}
	text, err := jsontext.AppendUnquote(nil, value)
	if err != nil || strings.TrimSpace(string(text)) == "" {
		return nil, false
	}
	marked, err := jsontext.AppendQuote(nil, insert(string(text), s.newMark(p)))
	return marked, err == nil
}

// insert puts a mark into the middle of a text, between characters and within what white space surrounds: templates
// look at how texts begin and end.
func insert(text, mark string) string {
	left := len(text) - len(strings.TrimLeftFunc(text, unicode.IsSpace))
	at := left + len(strings.TrimSpace(text))/2
	for at > left && !utf8.RuneStart(text[at]) {
		at--
	}
	return text[:at] + mark + text[at:]
}
