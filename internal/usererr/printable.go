package usererr

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// Hidden tells whether a character acts on a terminal instead of being seen: controls (C0 and C1, DEL), and those that
// let text run in another direction than it was written in. A line break and a tab are none.
func Hidden(r rune) bool {
	switch {
	case r == '\n' || r == '\t':
		return false
	case r < 0x20, r >= 0x7f && r < 0xa0, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
		return true
	}
	return false
}

// Escape writes a character as Go does: \x1b, \u202e.
func Escape(r rune) string {
	switch {
	case r == '\n':
		return `\n`
	case r == '\r':
		return `\r`
	case r < 0x80:
		return fmt.Sprintf(`\x%02x`, r)
	}
	return fmt.Sprintf(`\u%04x`, r)
}

// OneLine makes a text that may quote strangers fit for a line of a terminal or a log: what is hidden, line breaks, and
// bytes that are no UTF-8 are escaped.
func OneLine(text string) string {
	var out strings.Builder
	for len(text) > 0 {
		r, n := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&out, `\x%02x`, text[0])
		case r == '\n' || Hidden(r):
			out.WriteString(Escape(r))
		default:
			out.WriteString(text[:n])
		}
		text = text[n:]
	}
	return out.String()
}
