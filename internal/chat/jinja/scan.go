package jinja

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

type kind uint8

const (
	textToken kind = iota // template text outside of tags
	beginBlock
	endBlock
	beginVariable
	endVariable
	nameToken
	stringToken
	intToken
	floatToken
	operator
	endOfFile
)

type token struct {
	kind kind
	text string // name, operator or the value of a string
	line int
}

func (t token) String() string {
	switch t.kind {
	case endOfFile:
		return "end of template"
	case endBlock:
		return `"%}"`
	case endVariable:
		return `"}}"`
	}
	return fmt.Sprintf("%.40q", t.text)
}

type scanner struct {
	source string
	at     int
	line   int
	tokens []token
	// lineStart: the tag that was just left ended with a line break, so that what follows begins a line.
	lineStart bool
}

func fail(line int, reason Reason, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if len(text) > maxMessage {
		text = strings.ToValidUTF8(text[:maxMessage], "") + "…"
	}
	panic(&Error{line, reason, text})
}

// scan cuts a template into tokens and applies the rules for white space: trim_blocks drops a line break after a block
// or comment, lstrip_blocks the blanks before one, "-" all white space on its side, "+" switches the first two off.
func scan(source string) []token {
	source = strings.ReplaceAll(source, "\r\n", "\n")
	source = strings.ReplaceAll(source, "\r", "\n")
	source = strings.TrimSuffix(source, "\n")
	s := &scanner{source: source, line: 1, lineStart: true}
	for s.at < len(s.source) {
		s.data()
	}
	s.add(endOfFile, "")
	return s.tokens
}

func (s *scanner) add(k kind, text string) {
	s.tokens = append(s.tokens, token{k, text, s.line})
}

// skip moves on by n bytes and counts lines.
func (s *scanner) skip(n int) {
	s.line += strings.Count(s.source[s.at:s.at+n], "\n")
	s.at += n
}

// data scans text up to the next tag, and that tag.
func (s *scanner) data() {
	rest := s.source[s.at:]
	open := len(rest)
	for i := 0; i+1 < len(rest); i++ {
		if rest[i] == '{' && (rest[i+1] == '{' || rest[i+1] == '%' || rest[i+1] == '#') {
			open = i
			break
		}
	}
	text := rest[:open]
	if open == len(rest) {
		s.add(textToken, text)
		s.skip(open)
		return
	}
	tag, sign := rest[open+1], byte(0)
	if open+2 < len(rest) && (rest[open+2] == '-' || rest[open+2] == '+') {
		sign = rest[open+2]
	}
	kept := text
	if sign == '-' {
		kept = strings.TrimRightFunc(text, isSpace)
	} else if sign == 0 && tag != '{' {
		start := strings.LastIndexByte(text, '\n') + 1
		if (start > 0 || s.lineStart) && strings.Trim(text[start:], " \t") == "" {
			kept = text[:start]
		}
	}
	if kept != "" {
		s.add(textToken, kept)
	}
	s.skip(open + 2)
	if sign != 0 {
		s.skip(1)
	}
	switch tag {
	case '#':
		end := strings.Index(s.source[s.at:], "#}")
		if end < 0 {
			fail(s.line, Syntax, "a comment has no end")
		}
		// The sign belongs to the end tag, and may be all that the comment holds.
		sign := byte(0)
		if end > 0 {
			sign = s.source[s.at+end-1]
		}
		s.skip(end + 2)
		s.after(sign, true)
	case '{':
		s.add(beginVariable, "{{")
		s.inside('}')
	case '%':
		if s.raw() {
			return
		}
		s.add(beginBlock, "{%")
		s.inside('%')
	}
}

// after skips the white space that the end of a tag takes with it.
func (s *scanner) after(sign byte, block bool) {
	start := s.at
	switch rest := s.source[s.at:]; {
	case sign == '-':
		s.skip(len(rest) - len(strings.TrimLeftFunc(rest, isSpace)))
	case block && sign != '+' && strings.HasPrefix(rest, "\n"):
		s.skip(1)
	}
	s.lineStart = s.at > start && s.source[s.at-1] == '\n'
}

// raw handles {% raw %}…{% endraw %}, whose text is not scanned for tags.
func (s *scanner) raw() bool {
	rest := s.source[s.at:]
	name := strings.TrimLeftFunc(rest, isSpace)
	if !strings.HasPrefix(name, "raw") {
		return false
	}
	end := strings.TrimLeftFunc(name[len("raw"):], isSpace)
	sign, length := tagEnd(end, '%')
	if length == 0 {
		return false
	}
	s.skip(len(rest) - len(end) + length)
	s.after(sign, true)
	for from := s.at; ; {
		open := strings.Index(s.source[from:], "{%")
		if open < 0 {
			fail(s.line, Syntax, "{%% raw %%} has no end")
		}
		open += from
		rest := s.source[open+2:]
		sign := byte(0)
		if rest != "" && (rest[0] == '-' || rest[0] == '+') {
			sign, rest = rest[0], rest[1:]
		}
		rest = strings.TrimLeftFunc(rest, isSpace)
		if name, ok := strings.CutPrefix(rest, "endraw"); ok {
			end := strings.TrimLeftFunc(name, isSpace)
			if endSign, length := tagEnd(end, '%'); length > 0 {
				text := s.source[s.at:open]
				if sign == '-' {
					text = strings.TrimRightFunc(text, isSpace)
				} else if start := strings.LastIndexByte(text, '\n') + 1; sign == 0 && (start > 0 || s.lineStart) && strings.Trim(text[start:],
					" \t") == "" {
					text = text[:start]
				}
				s.add(textToken, text)
				s.skip(len(s.source) - s.at - len(end) + length)
				s.after(endSign, true)
				return true
			}
		}
		from = open + 2
	}
}

// tagEnd recognises "%}", "-%}", "+%}" or "}}", "-}}" at the start of s.
func tagEnd(s string, close byte) (sign byte, length int) {
	if s != "" && (s[0] == '-' || s[0] == '+' && close == '%') {
		sign = s[0]
		s = s[1:]
		length = 1
	}
	if len(s) >= 2 && s[0] == close && s[1] == '}' {
		return sign, length + 2
	}
	return 0, 0
}

// Longer operators first.
var operators = []string{
	"**", "//", "==", "!=", ">=", "<=",
	"+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}", ">", "<", "=", ".", ":", "|", ",", ";",
}

// inside scans the expression tokens of one tag and its end.
func (s *scanner) inside(close byte) {
	brackets := 0
	for {
		rest := s.source[s.at:]
		trimmed := strings.TrimLeftFunc(rest, isSpace)
		s.skip(len(rest) - len(trimmed))
		rest = trimmed
		if rest == "" {
			fail(s.line, Syntax, "a tag has no end")
		}
		// Within brackets, }} closes two dictionaries.
		if sign, n := tagEnd(rest, close); n > 0 && brackets == 0 {
			if close == '%' {
				s.add(endBlock, "%}")
			} else {
				s.add(endVariable, "}}")
			}
			s.skip(n)
			s.after(sign, close == '%')
			return
		}
		switch c := rest[0]; {
		case c == '"' || c == '\'':
			s.quoted(rest)
		case c >= '0' && c <= '9':
			s.number(rest)
		default:
			if n := nameLength(rest); n > 0 {
				if n > maxName {
					fail(s.line, Limit, "a name of %d bytes, more than %d", n, maxName)
				}
				s.add(nameToken, rest[:n])
				s.skip(n)
				continue
			}
			op := ""
			for _, candidate := range operators {
				if strings.HasPrefix(rest, candidate) {
					op = candidate
					break
				}
			}
			switch op {
			case "":
				r, _ := utf8.DecodeRuneInString(rest)
				fail(s.line, Syntax, "unexpected character %q", r)
			case "(", "[", "{":
				brackets++
			case ")", "]", "}":
				brackets--
			}
			s.add(operator, op)
			s.skip(len(op))
		}
	}
}

// isSpace is Python's str.isspace for one character.
func isSpace(r rune) bool { return unicode.IsSpace(r) || r >= 0x1c && r <= 0x1f }
