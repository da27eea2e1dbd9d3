package jinja

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

var stringMethods = map[string]func(m *machine, s string, a args) Value{
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
			part, ok := item.(string)
			if !ok {
				m.fail("sequence item %d: expected str instance, %s found", i, typeName(item))
			}
			if i > 0 {
				part = s + part
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
	"isdigit": func(m *machine, s string, a args) Value { return every(s, unicode.IsDigit) },
	"isalpha": func(m *machine, s string, a args) Value { return every(s, unicode.IsLetter) },
	"isalnum": func(m *machine, s string, a args) Value {
		return every(s, func(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) })
	},
	"isspace": func(m *machine, s string, a args) Value { return every(s, isSpace) },
	"isupper": func(m *machine, s string, a args) Value {
		return s == strings.ToUpper(s) && s != strings.ToLower(s)
	},
	"islower": func(m *machine, s string, a args) Value {
		return s == strings.ToLower(s) && s != strings.ToUpper(s)
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

func stripped(m *machine, s string, a args, left, right bool) string {
	is := isSpace
	if v := a.take(0, "chars", nil); v != nil {
		chars := a.takeString(m, "strip", 0, "chars", "")
		m.work(len(chars))
		set := make(map[rune]bool, len(chars))
		for _, r := range chars {
			set[r] = true
		}
		is = func(r rune) bool { return set[r] }
	}
	kept := s
	if left {
		kept = strings.TrimLeftFunc(kept, is)
	}
	if right {
		kept = strings.TrimRightFunc(kept, is)
	}
	m.work((len(s) - len(kept)) / 8)
	return kept
}

// affix is startswith or endswith, with one candidate or a tuple of them.
func affix(m *machine, name, s string, a args, has func(s, affix string) bool) bool {
	candidates, ok := a.take(0, "prefix", nil).(tuple)
	if !ok {
		return has(s, a.takeString(m, name, 0, "prefix", ""))
	}
	for _, c := range candidates {
		m.work(1)
		if text, ok := c.(string); ok && has(s, text) {
			return true
		}
	}
	return false
}

// split is str.split and str.rsplit; without separator at runs of white space.
func split(m *machine, s string, a args, fromRight bool) Value {
	limit := a.takeInt(m, "split", 1, "maxsplit", -1)
	m.work(len(s) / 8)
	var parts []string
	if a.take(0, "sep", nil) == nil {
		if limit >= 0 {
			fail(m.line, Unsupported, "split at white space with maxsplit")
		}
		parts = strings.FieldsFunc(s, isSpace)
	} else {
		sep := a.takeString(m, "split", 0, "sep", "")
		if sep == "" {
			m.fail("empty separator")
		}
		m.built(16 * strings.Count(s, sep))
		parts = strings.Split(s, sep)
		if n := int64(len(parts)) - 1; limit >= 0 && n > limit {
			if fromRight {
				parts = append([]string{strings.Join(parts[:n-limit+1], sep)}, parts[n-limit+1:]...)
			} else {
				parts = append(parts[:limit:limit], strings.Join(parts[limit:], sep))
			}
		}
	}
	out := make(List, len(parts))
	for i, p := range parts {
		out[i] = p
	}
	m.built(32*len(out) + len(s))
	return out
}

func splitLines(m *machine, s string, a args) Value {
	m.work(len(s) / 8)
	m.built(32 * (strings.Count(s, "\n") + strings.Count(s, "\r")))
	s = strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
	out := List{}
	for line := range strings.Lines(s) {
		out = append(out, strings.TrimSuffix(line, "\n"))
	}
	return out
}

// replaced is str.replace; a count below zero means all.
func replaced(m *machine, s, old, new string, count int64) string {
	hits := int64(strings.Count(s, old))
	if count >= 0 {
		hits = min(hits, count)
	}
	if len(new) > 0 && hits > int64(maxBytes/len(new)) {
		m.built(maxBytes + 1)
	}
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
