package jinja

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// stringMethods by name.
var stringMethods = map[string]builtin{}

func init() {
	for name, f := range ofStrings {
		stringMethods[name] = func(m *machine, of Value, a args) Value { return f(m, of.(string), a) }
	}
}

var ofStrings = map[string]func(m *machine, s string, a args) Value{
	"upper":      func(m *machine, s string, a args) Value { return m.text(strings.ToUpper(s)) },
	"lower":      func(m *machine, s string, a args) Value { return m.text(strings.ToLower(s)) },
	"title":      func(m *machine, s string, a args) Value { return m.text(titled(s, false)) },
	"capitalize": func(m *machine, s string, a args) Value { return m.text(capitalized(s)) },
	"strip":      func(m *machine, s string, a args) Value { return stripped(m, s, a, true, true) },
	"lstrip":     func(m *machine, s string, a args) Value { return stripped(m, s, a, true, false) },
	"rstrip":     func(m *machine, s string, a args) Value { return stripped(m, s, a, false, true) },
	"startswith": func(m *machine, s string, a args) Value { return affix(m, "startswith", s, a, strings.HasPrefix) },
	"endswith":   func(m *machine, s string, a args) Value { return affix(m, "endswith", s, a, strings.HasSuffix) },
	"removeprefix": func(m *machine, s string, a args) Value {
		return strings.TrimPrefix(s, a.takeString(m, "removeprefix", 0, "prefix", ""))
	},
	"removesuffix": func(m *machine, s string, a args) Value {
		return strings.TrimSuffix(s, a.takeString(m, "removesuffix", 0, "suffix", ""))
	},
	"split":      func(m *machine, s string, a args) Value { return split(m, s, a, false) },
	"rsplit":     func(m *machine, s string, a args) Value { return split(m, s, a, true) },
	"splitlines": splitLines,
	"replace": func(m *machine, s string, a args) Value {
		return replaced(m, s, a.takeString(m, "replace", 0, "old", ""),
			a.takeString(m, "replace", 1, "new", ""), a.takeInt(m, "replace", 2, "count", -1))
	},
	"join": func(m *machine, s string, a args) Value {
		var out strings.Builder
		for i, item := range m.iterate(a.take(0, "iterable", undefined{})) {
			part, ok := plain(item).(string)
			if !ok {
				m.fail("sequence item %d: expected str instance, %s found", i, typeName(item))
			}
			m.work(1)
			if i > 0 {
				m.built(len(s))
				out.WriteString(s)
			}
			m.built(len(part))
			out.WriteString(part)
		}
		return out.String()
	},
	"find": func(m *machine, s string, a args) Value {
		i := strings.Index(s, a.takeString(m, "find", 0, "sub", ""))
		if i >= 0 {
			i = utf8.RuneCountInString(s[:i])
		}
		return int64(i)
	},
	"rfind": func(m *machine, s string, a args) Value {
		i := strings.LastIndex(s, a.takeString(m, "rfind", 0, "sub", ""))
		if i >= 0 {
			i = utf8.RuneCountInString(s[:i])
		}
		return int64(i)
	},
	"count": func(m *machine, s string, a args) Value {
		return int64(strings.Count(s, a.takeString(m, "count", 0, "sub", "")))
	},
	"format":  formatMethod,
	"isdigit": func(m *machine, s string, a args) Value { return every(s, unicode.IsDigit) },
	"isalpha": func(m *machine, s string, a args) Value { return every(s, unicode.IsLetter) },
	"isalnum": func(m *machine, s string, a args) Value {
		return every(s, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) })
	},
	"isspace": func(m *machine, s string, a args) Value { return every(s, isSpace) },
	"isupper": func(m *machine, s string, a args) Value {
		return oneCase(s, unicode.ToUpper, unicode.ToLower)
	},
	"islower": func(m *machine, s string, a args) Value {
		return oneCase(s, unicode.ToLower, unicode.ToUpper)
	},
}

func every(s string, is func(rune) bool) bool {
	for _, r := range s {
		if !is(r) {
			return false
		}
	}
	return s != ""
}

// oneCase tells whether a text has letters of one case and none of the other: to bring it to its own changes nothing.
func oneCase(s string, own, other func(rune) rune) bool {
	found := false
	for _, r := range s {
		if own(r) != r {
			return false
		}
		found = found || other(r) != r
	}
	return found
}

func stripped(m *machine, s string, a args, left, right bool) string {
	in := isSpace
	if v := a.take(0, "chars", nil); v != nil {
		chars := a.takeString(m, "strip", 0, "chars", "")
		m.work(len(chars))
		set := map[rune]bool{}
		for _, r := range chars {
			set[r] = true
		}
		in = func(r rune) bool { return set[r] }
	}
	looked := 0
	is := func(r rune) bool {
		if looked++; looked%8 == 0 {
			m.work(1)
		}
		return in(r)
	}
	if left {
		s = strings.TrimLeftFunc(s, is)
	}
	if right {
		s = strings.TrimRightFunc(s, is)
	}
	return s
}

// affix is startswith or endswith, with one candidate or a tuple of them.
func affix(m *machine, name, s string, a args, has func(s, affix string) bool) bool {
	candidates, ok := a.take(0, "prefix", nil).(tuple)
	if !ok {
		return has(s, a.takeString(m, name, 0, "prefix", ""))
	}
	for _, c := range candidates {
		m.work(1)
		text, ok := plain(c).(string)
		m.reads(text)
		if ok && has(s, text) {
			return true
		}
	}
	return false
}

// split is str.split and str.rsplit; without separator at runs of white space.
func split(m *machine, s string, a args, fromRight bool) Value {
	limit := a.takeInt(m, "split", 1, "maxsplit", -1)
	out := List{}
	add := func(part string) {
		m.work(1)
		m.built(3 * valueBytes)
		out = append(out, part)
	}
	if a.take(0, "sep", nil) == nil {
		if limit >= 0 {
			fail(m.line, Unsupported, "split at white space with maxsplit")
		}
		for part := range strings.FieldsFuncSeq(s, isSpace) {
			add(part)
		}
		return out
	}
	sep := a.takeString(m, "split", 0, "sep", "")
	if sep == "" {
		m.fail("empty separator")
	}
	find := strings.Index
	if fromRight {
		find = strings.LastIndex
	}
	for ; limit != 0; limit-- {
		at := find(s, sep)
		if at < 0 {
			break
		}
		if fromRight {
			add(s[at+len(sep):])
			s = s[:at]
		} else {
			add(s[:at])
			s = s[at+len(sep):]
		}
	}
	add(s)
	if fromRight {
		slices.Reverse(out)
	}
	return out
}

func splitLines(m *machine, s string, a args) Value {
	m.built(2 * len(s))
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	out := List{}
	for line := range strings.Lines(s) {
		m.work(1)
		m.built(3 * valueBytes)
		out = append(out, strings.TrimSuffix(line, "\n"))
	}
	return out
}

// replaced is str.replace; a count below zero means all.
func replaced(m *machine, s, old, new string, count int64) string {
	m.reads(s) // the filter's operand may be no string yet
	hits := int64(strings.Count(s, old))
	if count >= 0 {
		hits = min(hits, count)
	}
	if len(new) > 0 && hits > int64(maxBytes/len(new)) {
		m.built(maxBytes + 1)
	}
	m.work(int(hits))
	m.built(len(s) + int(hits)*len(new))
	return strings.Replace(s, old, new, int(hits))
}

// titled is Python's str.title, or with wordStarts Jinja2's filter, in which only white space and brackets begin words.
func titled(s string, wordStarts bool) string {
	begin := true
	return strings.Map(func(r rune) rune {
		first := begin
		if wordStarts {
			begin = isSpace(r) || strings.ContainsRune("-({[<", r)
		} else {
			begin = !unicode.IsLetter(r)
		}
		if first {
			return unicode.ToTitle(r)
		}
		return unicode.ToLower(r)
	}, s)
}

func capitalized(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return s
	}
	return string(unicode.ToTitle(r)) + strings.ToLower(s[n:])
}
