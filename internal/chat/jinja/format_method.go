package jinja

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// formatMethod is str.format as Jinja2's sandbox lets it be called.
func formatMethod(m *machine, s string, a args) Value {
	var out strings.Builder
	automatic := 0
	for s != "" {
		m.work(1)
		at := strings.IndexAny(s, "{}")
		if at < 0 {
			at = len(s)
		}
		m.built(at)
		out.WriteString(s[:at])
		if s = s[at:]; s == "" {
			break
		}
		if strings.HasPrefix(s, "{{") || strings.HasPrefix(s, "}}") {
			out.WriteByte(s[0])
			s = s[2:]
			continue
		}
		if s[0] == '}' {
			m.fail("Single '}' encountered in format string")
		}
		end := strings.IndexByte(s, '}')
		switch {
		case end < 0:
			m.fail("expected '}' before end of string")
		case strings.Contains(s[1:end], "{"):
			fail(m.line, Unsupported, "a format with a field within a field")
		}
		out.WriteString(m.field(s[1:end], a, &automatic))
		s = s[end+1:]
	}
	return m.text(out.String())
}

// field is what a replacement field stands for: name!conversion:spec.
func (m *machine) field(field string, a args, automatic *int) string {
	name, spec, _ := strings.Cut(field, ":")
	name, conversion, converts := strings.Cut(name, "!")
	first := name
	if at := strings.IndexAny(name, ".["); at >= 0 {
		first = name[:at]
	}
	rest := name[len(first):]
	if first == "" {
		first = strconv.Itoa(*automatic)
		*automatic++
	}
	var v Value
	if n, err := strconv.Atoi(first); err == nil {
		if n < 0 || n >= len(a.positional) {
			m.fail("Replacement index %d out of range for positional args tuple", n)
		}
		v = a.positional[n]
	} else if named, there := a.named[first]; there {
		v = named
	} else {
		m.fail("format: there is no argument '%s'", first)
	}
	for rest != "" {
		m.work(1)
		if part, isKey := strings.CutPrefix(rest, "["); isKey {
			key, after, closed := strings.Cut(part, "]")
			if !closed {
				m.fail("Missing ']' in format string")
			}
			if n, err := strconv.ParseInt(key, 10, 64); err == nil {
				v = m.index(v, n, false)
			} else {
				v = m.index(v, key, false)
			}
			rest = after
			continue
		}
		part := rest[1:]
		end := strings.IndexAny(part, ".[")
		if end < 0 {
			end = len(part)
		}
		v, rest = m.index(v, part[:end], true), part[end:]
	}
	switch {
	case conversion == "s" && converts:
		v = m.str(v)
	case conversion == "r" && converts:
		var out strings.Builder
		m.repr(&out, v, 0)
		v = out.String()
	case converts:
		m.fail("Unknown conversion specifier '%s'", conversion)
	}
	return m.specified(m.readSpec(spec), spec, v)
}

// readSpec reads a format_spec: [[fill]align][sign][#][0][width][,][.precision][kind].
func (m *machine) readSpec(s string) verb {
	v := verb{precision: -1}
	whole := s
	_, first := utf8.DecodeRuneInString(s)
	if len(s) > first && first > 0 && strings.IndexByte("<>=^", s[first]) >= 0 {
		v.fill, v.align, s = s[:first], s[first:first+1], s[first+1:]
	} else if s != "" && strings.IndexByte("<>=^", s[0]) >= 0 {
		v.align, s = s[:1], s[1:]
	}
	if s != "" && strings.IndexByte("+- ", s[0]) >= 0 {
		v.sign, s = s[:1], s[1:]
	}
	s, v.alternative = strings.CutPrefix(s, "#")
	if strings.HasPrefix(s, "0") && v.align == "" {
		v.align, v.fill = "=", "0"
	}
	v.width, s = m.digits(s)
	s, v.comma = strings.CutPrefix(s, ",")
	if rest, dot := strings.CutPrefix(s, "."); dot {
		v.precision, s = m.digits(rest)
		if len(rest) == len(s) {
			m.fail("Format specifier missing precision")
		}
	}
	if len(s) == 1 {
		v.kind = s[0]
	} else if s != "" {
		m.fail("Invalid format specifier '%s'", whole)
	}
	return v
}

// specified is a value as a format_spec writes it.
func (m *machine) specified(v verb, spec string, value Value) string {
	n, x, isInt, ok := number(value)
	if _, isBool := value.(bool); !ok || spec == "" || isBool && v.kind == 0 {
		if v.kind != 0 && v.kind != 's' || v.comma || v.sign != "" {
			m.fail("Unknown format code '%c' for object of type '%s'", v.kind, typeName(value))
		}
		if _, isString := plain(value).(string); !isString && spec != "" && !ok {
			m.fail("unsupported format string passed to %s.__format__", typeName(value))
		}
		if v.align == "" || v.align == "=" {
			v.align = "<"
		}
		return m.pad(v, cut(m.str(value), v.precision), false)
	}
	if v.align == "" {
		v.align = ">"
	}
	var text string
	switch {
	case isInt && (v.kind == 0 || strings.IndexByte("dboxX", v.kind) >= 0):
		text = m.integerText(v, n)
	case v.kind != 0 && strings.IndexByte("eEfFgG", v.kind) >= 0:
		text = m.float64Text(v, x)
	case v.kind == '%':
		percent := v
		percent.kind = 'f'
		text = m.float64Text(percent, x*100) + "%"
	case v.kind == 0 && v.precision < 0:
		unsigned, negative := strings.CutPrefix(floatText(x), "-")
		text = signed(v, negative, unsigned)
	default:
		fail(m.line, Unsupported, "the format %.40q of a '%s'", spec, typeName(value))
	}
	if v.comma {
		text = grouped(text)
	}
	return m.pad(v, text, true)
}

func (m *machine) integerText(v verb, n int64) string {
	if v.precision >= 0 {
		m.fail("Precision not allowed in integer format specifier")
	}
	if v.kind != 'b' {
		return m.integerDigits(v, n, map[byte]int{0: 10, 'd': 10, 'o': 8, 'x': 16, 'X': 16}[v.kind])
	}
	text, negative := strings.CutPrefix(strconv.FormatInt(n, 2), "-")
	if v.alternative {
		text = "0b" + text
	}
	return signed(v, negative, text)
}

// grouped puts commas between thousands.
func grouped(text string) string {
	start := 0
	for start < len(text) && (text[start] < '0' || text[start] > '9') {
		start++
	}
	end := start
	for end < len(text) && text[end] >= '0' && text[end] <= '9' {
		end++
	}
	digits := text[start:end]
	var out strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			out.WriteByte(',')
		}
		out.WriteRune(d)
	}
	return text[:start] + out.String() + text[end:]
}
