package chat

import (
	"encoding/json/jsontext"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// endOfThought is what stands between a thought and an answer in one content.
const endOfThought = "</think>"

// What a template may leave out of a conversation.
const (
	unseenTools     = "tools"
	unseenCalls     = "tool calls"
	unseenReasoning = "reasoning"
	unseenNames     = "names"
	unseenContent   = "turns"
	unseenField     = "fields " // and its name
	unseenFields    = "further fields"
	unseenArgument  = "template arguments " // and its name
)

// part is something of a conversation of which a marked copy tells whether it gets into the text.
type part struct {
	what  string
	turn  int    // -1: of the whole conversation
	field string // of the turn; empty: its content
	marks []string
	shown bool
}

// seen says what of a conversation gets into the text.
type seen struct {
	parts []*part
	all   bool   // all of them are known to show
	base  uint64 // of the marks
	marks uint64
}

// markBase is what marks count on from: of 17 digits, as all of them are. Templates may escape what is not ASCII and
// change the case of letters, they pass digits through. A text that has the base already gets another one.
const markBase = 73095814620000000

// mostMarks is how many marks a base has: they share the digits before those that count.
const mostMarks = 10_000_000

// newBase is for marks that a text does not have, unless it was made to have all that are tried.
func newBase(text string) uint64 {
	const tries = 100
	base := uint64(markBase)
	for range tries {
		if !strings.Contains(text, fmt.Sprint(base/mostMarks)) {
			break
		}
		base += mostMarks
	}
	return base
}

// probe marks every text of a copy of a conversation, of which written is the text, and looks for the marks in what the
// template makes of it. Of
// what has no text, a number or a field that is true, a copy without it tells. Where the template fails on a copy, all
// counts as shown.
func (c *conversation) probe(of Conversation, written string) seen {
	s := seen{base: newBase(written)}
	copied := of.of(slices.Clone(of.Messages))
	plain := of.Tools == nil && len(of.Messages) == len(c.Messages) // of a part it is asked where marks are needed
	for i, m := range of.Messages {
		plain = plain && len(m.Fields) == 0 && strings.Contains(written, strings.TrimSpace(m.Content))
		copied.Messages[i] = s.mark(i, m)
	}
	if plain { // each content stands in the text as it is
		s.all = true
		return s
	}
	if of.Tools != nil {
		tools := s.add(unseenTools, -1)
		copied.Tools, _ = rewriteJSON(of.Tools, func(at string, value jsontext.Value) (jsontext.Value, bool) {
			if strings.HasSuffix(at, "/type") { // templates decide by it
				return nil, false
			}
			return s.markString(tools, value)
		})
	}
	text, err := c.t.render(copied, false)
	without, unmarked := s.withoutUnmarked(copied)
	bare := text
	if unmarked && err == nil {
		bare, err = c.t.render(without, false)
	}
	for _, p := range s.parts {
		p.shown = err != nil || slices.ContainsFunc(p.marks, func(mark string) bool { return strings.Contains(text.Text, mark) }) ||
			len(p.marks) == 0 && bare.Text != text.Text
	}
	return s
}

// withoutUnmarked is the conversation without the fields and the tools that have no mark.
func (s seen) withoutUnmarked(c Conversation) (_ Conversation, changed bool) {
	type place struct {
		turn  int
		field string
	}
	unmarked := map[place]bool{}
	for _, p := range s.parts {
		if len(p.marks) == 0 {
			unmarked[place{p.turn, p.field}] = true
		}
	}
	if len(unmarked) == 0 {
		return c, false
	}
	if unmarked[place{turn: -1}] {
		c.Tools = nil
	}
	c.Messages = slices.Clone(c.Messages)
	for i, m := range c.Messages {
		c.Messages[i].Fields = slices.DeleteFunc(slices.Clone(m.Fields), func(f Field) bool { return unmarked[place{i, f.Name}] })
	}
	return c, true
}

// also takes what a text of the first turns shows as shown.
func (s seen) also(first seen) {
	for _, p := range s.parts {
		p.shown = p.shown || slices.ContainsFunc(first.parts, func(f *part) bool { return (f.shown || first.all) && f.is(*p) })
	}
}

// is tells parts of two copies that stand for the same.
func (p part) is(other part) bool {
	return p.what == other.what && p.turn == other.turn && p.field == other.field
}

// turn tells whether something of an assistant turn shows that can be learned.
func (s seen) turn(i int) bool {
	return slices.ContainsFunc(s.parts, func(p *part) bool {
		return p.turn == i && p.what != unseenNames && (p.shown || s.all)
	})
}

// maxUnseenFields is how many fields are named one by one.
const maxUnseenFields = 8

// missing are the names of what does not show.
func (s seen) missing() (names []string) {
	found, fields := map[string]bool{}, 0
	for _, p := range s.parts {
		what := p.what
		if p.shown || s.all || found[what] {
			continue
		}
		if strings.HasPrefix(what, unseenField) {
			if fields++; fields > maxUnseenFields {
				what = unseenFields
			}
		}
		found[what] = true
	}
	return slices.Sorted(maps.Keys(found))
}

func (s *seen) add(what string, turn int) *part {
	p := &part{what: what, turn: turn}
	s.parts = append(s.parts, p)
	return p
}

// newMark is a text that the conversation does not have and that templates pass through.
func (s *seen) newMark(p *part) string {
	mark := fmt.Sprint(s.base + s.marks)
	s.marks++
	p.marks = append(p.marks, mark)
	return mark
}

// mark is a turn with a mark in each of its texts.
func (s *seen) mark(i int, m Message) Message {
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
	what := fmt.Sprintf(unseenField+"%.60q", f.Name)
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
		p.field = f.Name
		value, _ := rewriteJSON(f.Value, func(_ string, value jsontext.Value) (jsontext.Value, bool) { return s.markString(p, value) })
		return value
	}
	names, arguments := s.add(what, turn), &part{what: what, turn: turn}
	names.field = f.Name
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
	return slices.Contains([]string{`""`, "[]", "{}", "false"}, string(value))
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
