package jinja

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// str is Python's str.
func (m *machine) str(v Value) string {
	switch v := v.(type) {
	case string:
		return v
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
	start := out.Len()
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
		writeQuoted(out, v)
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
			writeQuoted(out, k)
			out.WriteString(": ")
			m.repr(out, v.values[k], depth+1)
		}
		out.WriteString("}")
	default:
		fail(m.line, Unsupported, "the text of a %s", typeName(v))
	}
	m.built(out.Len() - start)
}

func (m *machine) separate(out *strings.Builder, i int) {
	if i > 0 {
		out.WriteString(", ")
	}
}

// writeQuoted is Python's repr of a string.
func writeQuoted(out *strings.Builder, s string) {
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
			fmt.Fprintf(out, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(out, `\u%04x`, r)
		default:
			fmt.Fprintf(out, `\U%08x`, r)
		}
	}
	out.WriteByte(quote)
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
