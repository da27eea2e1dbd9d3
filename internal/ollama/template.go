//go:build !js

package ollama

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// literal writes a text into a template, so that it is that text, and nothing that a Modelfile cannot hold.
func literal(text string) string {
	var out strings.Builder
	for at := 0; at < len(text); {
		r, size := utf8.DecodeRuneInString(text[at:])
		switch {
		case strings.HasPrefix(text[at:], quotes):
			size = len(quotes)
			fmt.Fprintf(&out, "{{ %q }}", quotes)
		case r == '{' && (at+1 == len(text) || strings.IndexByte(`{"`, text[at+1]) >= 0 || text[at+1] < ' ' || text[at+1] >= utf8.RuneSelf):
			out.WriteString(`{{ "{" }}`)
		case unprintable(r):
			fmt.Fprintf(&out, "{{ %s }}", strconv.QuoteToASCII(text[at:at+size]))
		default:
			out.WriteString(text[at : at+size])
		}
		at += size
	}
	return out.String()
}

// choice is a text that stands where a condition holds.
type choice struct{ condition, text string }

// choose writes the texts of conditions that exclude each other, and what stands where none holds. What all begin or
// end with is written once.
func choose(choices []choice, otherwise string) string {
	beginning, ending := otherwise, otherwise
	for _, c := range choices {
		ending = commonEnd(ending, c.text)
	}
	without := func(text string) string { return strings.TrimSuffix(text, ending) }
	beginning = without(beginning)
	for _, c := range choices {
		beginning = commonBeginning(beginning, without(c.text))
	}
	inner := func(text string) string { return literal(without(text)[len(beginning):]) }
	rest := inner(otherwise)
	if len(choices) == 1 && inner(choices[0].text) == "" && rest != "" {
		condition := choices[0].condition
		if strings.Contains(condition, " ") {
			condition = "(" + condition + ")"
		}
		choices, rest = []choice{{"not " + condition, otherwise}}, ""
	}
	var out strings.Builder
	out.WriteString(literal(beginning))
	for i, c := range choices {
		if i > 0 {
			out.WriteString("{{ else if ")
		} else {
			out.WriteString("{{ if ")
		}
		out.WriteString(c.condition + " }}" + inner(c.text))
	}
	switch {
	case rest != "" && len(choices) > 0:
		out.WriteString("{{ else }}" + rest)
	case rest != "":
		out.WriteString(rest)
	}
	if len(choices) > 0 {
		out.WriteString("{{ end }}")
	}
	return out.String() + literal(ending)
}

// commonBeginning ends where a reader would end it: at a mark or a line.
func commonBeginning(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	for n > 0 && !between(a, n) {
		n--
	}
	return a[:n]
}

// commonEnd begins likewise.
func commonEnd(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	for n > 0 && !between(a, len(a)-n) {
		n--
	}
	return a[len(a)-n:]
}

// between tells whether a mark or a line begins or ends at a place.
func between(text string, at int) bool {
	return at == 0 || at == len(text) || strings.IndexByte("\n>]", text[at-1]) >= 0 || strings.IndexByte("\n<[", text[at]) >= 0
}
