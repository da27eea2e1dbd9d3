package jinja

import (
	"strconv"
	"strings"
	"unicode"
)

func nameLength(s string) int {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && (i == 0 || !unicode.IsNumber(r)) {
			return i
		}
	}
	return len(s)
}

func (s *scanner) number(rest string) {
	digits := func(i int) int {
		for i < len(rest) && (rest[i] >= '0' && rest[i] <= '9' || rest[i] == '_') {
			i++
		}
		return i
	}
	n, kind := digits(0), intToken
	if n+1 < len(rest) && rest[n] == '.' && rest[n+1] >= '0' && rest[n+1] <= '9' {
		n, kind = digits(n+1), floatToken
	}
	if n < len(rest) && (rest[n] == 'e' || rest[n] == 'E') {
		exponent := n + 1
		if exponent < len(rest) && (rest[exponent] == '+' || rest[exponent] == '-') {
			exponent++
		}
		if end := digits(exponent); end > exponent {
			n, kind = end, floatToken
		}
	}
	s.add(kind, strings.ReplaceAll(rest[:n], "_", ""))
	s.skip(n)
}

func (s *scanner) quoted(rest string) {
	end := 1
	for end < len(rest) && rest[end] != rest[0] {
		if rest[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(rest) {
		fail(s.line, Syntax, "a string has no end")
	}
	s.add(stringToken, s.unescape(rest[1:end]))
	s.skip(end + 1)
}

var escapes = map[byte]string{
	'\n': "", '\\': `\`, '\'': "'", '"': `"`, 'a': "\a", 'b': "\b", 'f': "\f", 'n': "\n", 'r': "\r", 't': "\t", 'v': "\v",
}

// unescape reads Python's escapes; an unknown one stands for itself.
func (s *scanner) unescape(text string) string {
	if !strings.Contains(text, `\`) {
		return text
	}
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			out.WriteByte(text[i])
			continue
		}
		i++
		c := text[i]
		if plain, ok := escapes[c]; ok {
			out.WriteString(plain)
			continue
		}
		length, base := map[byte]int{'x': 2, 'u': 4, 'U': 8}[c], 16
		first := i + 1
		if c >= '0' && c <= '7' {
			first, base, length = i, 8, 1
			for length < 3 && i+length < len(text) && text[i+length] >= '0' && text[i+length] <= '7' {
				length++
			}
		}
		switch {
		case c == 'N':
			fail(s.line, Unsupported, `the escape \N`)
		case length == 0:
			out.WriteByte('\\')
			out.WriteByte(c)
		default:
			if first+length > len(text) {
				fail(s.line, Syntax, `the escape \%c needs %d digits`, c, length)
			}
			code, err := strconv.ParseUint(text[first:first+length], base, 32)
			if err != nil || code > unicode.MaxRune || code >= 0xD800 && code < 0xE000 {
				fail(s.line, Syntax, `bad escape \%s`, text[i:first+length])
			}
			out.WriteRune(rune(code))
			i = first + length - 1
		}
	}
	return out.String()
}
