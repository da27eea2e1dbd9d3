package jinja

import (
	"math"
	"strconv"
	"strings"
)

// str is Python's str.
func (m *machine) str(v Value) string {
	switch v := v.(type) {
	case string:
		return v
	case markup:
		return string(v)
	case undefined:
		return ""
	}
	var out strings.Builder
	m.repr(&out, v, 0)
	return out.String()
}

// repr is Python's repr.
func (m *machine) repr(out *strings.Builder, v Value, depth int) {
	m.work(1)
	m.checkDepth(depth)
	switch v := v.(type) {
	case nil:
		out.WriteString("None")
	case bool:
		out.WriteString(map[bool]string{true: "True", false: "False"}[v])
	case int64:
		out.WriteString(strconv.FormatInt(v, 10))
	case float64:
		out.WriteString(floatText(v))
	case string:
		m.quote(out, v)
	case markup:
		out.WriteString("Markup(")
		m.quote(out, string(v))
		out.WriteString(")")
	case undefined:
		out.WriteString("Undefined")
	case List:
		out.WriteString("[")
		for i, item := range v {
			m.separate(out, i)
			m.repr(out, item, depth+1)
		}
		out.WriteString("]")
	case tuple:
		out.WriteString("(")
		for i, item := range v {
			m.separate(out, i)
			m.repr(out, item, depth+1)
		}
		if len(v) == 1 {
			out.WriteString(",")
		}
		out.WriteString(")")
	case *Dict:
		out.WriteString("{")
		for i, k := range v.keys {
			m.separate(out, i)
			m.repr(out, k, depth+1)
			out.WriteString(": ")
			of, _ := m.member(v, k)
			m.repr(out, of, depth+1)
		}
		out.WriteString("}")
	default:
		fail(m.line, Unsupported, "the text of a %s", typeName(v))
	}
}

// separate comes before each element: it and the brackets are counted here, what they hold where it is written.
func (m *machine) separate(out *strings.Builder, i int) {
	m.built(2 * valueBytes)
	if i > 0 {
		out.WriteString(", ")
	}
}

// quote writes Python's repr of a string.
func (m *machine) quote(out *strings.Builder, s string) {
	m.reads(s)
	m.built(len(s) + 2)
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	out.WriteByte(quote)
	for _, r := range s {
		switch {
		case r == rune(quote) || r == '\\':
			out.WriteByte('\\')
			out.WriteRune(r)
		case r == '\n':
			out.WriteString(`\n`)
		case r == '\r':
			out.WriteString(`\r`)
		case r == '\t':
			out.WriteString(`\t`)
		case r == ' ' || strconv.IsPrint(r):
			out.WriteRune(r)
		case r < 0x100:
			m.escape(out, 'x', 2, r)
		case r < 0x10000:
			m.escape(out, 'u', 4, r)
		default:
			m.escape(out, 'U', 8, r)
		}
	}
	out.WriteByte(quote)
}

// escape writes a character by its number, such as \u00e9.
func (m *machine) escape(out *strings.Builder, letter byte, digits int, r rune) {
	m.work(1)
	m.built(digits)
	out.WriteByte('\\')
	out.WriteByte(letter)
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		out.WriteByte("0123456789abcdef"[r>>shift&15])
	}
}

// floatText is Python's repr of a float: the shortest digits, an exponent below 1e-4 and from 1e16 on.
func floatText(x float64) string {
	if math.IsInf(x, 0) {
		return map[bool]string{true: "inf", false: "-inf"}[x > 0]
	}
	if math.IsNaN(x) {
		return "nan"
	}
	if abs := math.Abs(x); abs != 0 && (abs < 1e-4 || abs >= 1e16) {
		return strconv.FormatFloat(x, 'e', -1, 64)
	}
	s := strconv.FormatFloat(x, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
