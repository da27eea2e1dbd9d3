package tokenizer

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// A normalizer changes a text that is not empty before it is cut into pieces.
type normalizer func(string) string

const graphemeJoiner = "\u034F"

// unicodeForm is one of Unicode's normalization forms. x/text writes a joiner into runs of more than 30 combining
// marks, which the forms do not ask for and Hugging Face does not do.
func unicodeForm(form norm.Form) normalizer {
	return func(s string) string {
		out := form.String(s)
		if !strings.Contains(s, graphemeJoiner) {
			out = strings.ReplaceAll(out, graphemeJoiner, "")
		}
		return out
	}
}

func prepend(prefix string) normalizer {
	return func(s string) string { return prefix + s }
}

// replace writes content for what is found.
func replace(find finder, content string) normalizer {
	return func(s string) string {
		var out strings.Builder
		done := 0
		find(s, func(start, end int) {
			out.WriteString(s[done:start])
			out.WriteString(content)
			done = end
		})
		if done == 0 {
			return s
		}
		out.WriteString(s[done:])
		return out.String()
	}
}

func strip(left, right bool) normalizer {
	return func(s string) string {
		if left {
			s = strings.TrimLeftFunc(s, unicode.IsSpace)
		}
		if right {
			s = strings.TrimRightFunc(s, unicode.IsSpace)
		}
		return s
	}
}

// stripAccents leaves out all marks.
func stripAccents(s string) string {
	return strings.Map(func(c rune) rune {
		if unicode.IsMark(c) {
			return -1
		}
		return c
	}, s)
}

// lowercase is Unicode's full mapping, character by character; the capital I with a dot is the only one that becomes
// two.
func lowercase(s string) string {
	return strings.ToLower(strings.ReplaceAll(s, "İ", "i\u0307"))
}

var simpleNormalizers = map[string]normalizer{
	"NFC": unicodeForm(norm.NFC), "NFD": unicodeForm(norm.NFD), "NFKC": unicodeForm(norm.NFKC), "NFKD": unicodeForm(norm.NFKD),
	"Lowercase": lowercase, "StripAccents": stripAccents,
}

// normalizationGrowth is Unicode's (UAX 15, in UTF-8): U+FDFA becomes eleven times as long, U+0390 three times.
var normalizationGrowth = map[string]int{"NFC": 3, "NFD": 3, "NFKC": 11, "NFKD": 11}

// addNormalizer enters a component of `normalizer`.
func (d *definition) addNormalizer(c component, where string) error {
	n, ok := simpleNormalizers[c.Type]
	growth := 1
	switch {
	case ok:
		growth = normalizationGrowth[c.Type]
	case c.Type == "Prepend":
		n, growth = prepend(c.Prepend), 1+len(c.Prepend)
	case c.Type == "Replace":
		find, err := d.finder(c, where)
		if err != nil {
			return err
		}
		n, growth = replace(find, c.contentOf()), len(c.contentOf())
	case c.Type == "Strip":
		n = strip(c.StripLeft == nil || *c.StripLeft, c.StripRight == nil || *c.StripRight)
	}
	d.normalizers = append(d.normalizers, n)
	return d.grow(growth, where)
}

func (t *Tokenizer) normalize(s string) string {
	for _, n := range t.normalizers {
		if s == "" {
			break
		}
		s = n(s)
	}
	return s
}
