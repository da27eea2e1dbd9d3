package jinja

import (
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// filters by name. init breaks the cycle map -> {filter -> filters}.
var filters map[string]builtin

func init() {
	length := func(m *machine, v Value, a args) Value { return int64(m.length(v)) }
	fallback := func(m *machine, v Value, a args) Value {
		_, missing := v.(undefined)
		if missing || truth(a.take(1, "boolean", false)) && !truth(v) {
			return a.take(0, "default_value", "")
		}
		return v
	}
	filters = map[string]builtin{
		"length": length, "count": length,
		"default": fallback, "d": fallback,
		"trim":       func(m *machine, v Value, a args) Value { return stripped(m, m.str(v), a, true, true) },
		"upper":      func(m *machine, v Value, a args) Value { return m.text(strings.ToUpper(m.str(v))) },
		"lower":      func(m *machine, v Value, a args) Value { return m.text(strings.ToLower(m.str(v))) },
		"title":      func(m *machine, v Value, a args) Value { return m.text(titled(m.str(v), true)) },
		"capitalize": func(m *machine, v Value, a args) Value { return m.text(capitalized(m.str(v))) },
		"string":     func(m *machine, v Value, a args) Value { return m.str(v) },
		"safe":       func(m *machine, v Value, a args) Value { return markup(m.str(v)) },
		"tojson":     toJSON,
		"join":       join,
		"format":     formatFilter,
		"from_json":  fromJSON,
		"batch":      batch,
		"slice":      sliced,
		"groupby":    groupBy,
		"attr":       attribute,
		"center":     center,
		"wordcount":  wordCount,
		"escape":     escaped, "e": escaped, "forceescape": forceEscaped,
		"indent":     indent,
		"int":        toInt,
		"float":      toFloat,
		"abs":        absolute,
		"round":      round,
		"sum":        sum,
		"min":        func(m *machine, v Value, a args) Value { return extreme(m, v, a, -1) },
		"max":        func(m *machine, v Value, a args) Value { return extreme(m, v, a, 1) },
		"list":       func(m *machine, v Value, a args) Value { return List(m.iterate(v)) },
		"items":      items,
		"dictsort":   dictSort,
		"sort":       sorted,
		"unique":     unique,
		"reverse":    reversed,
		"map":        mapped,
		"select":     func(m *machine, v Value, a args) Value { return selected(m, v, a, false, true) },
		"reject":     func(m *machine, v Value, a args) Value { return selected(m, v, a, false, false) },
		"selectattr": func(m *machine, v Value, a args) Value { return selected(m, v, a, true, true) },
		"rejectattr": func(m *machine, v Value, a args) Value { return selected(m, v, a, true, false) },
		"replace": func(m *machine, v Value, a args) Value {
			return replaced(m, m.str(v), m.str(a.take(0, "old", "")), m.str(a.take(1, "new", "")), a.takeInt(m, "replace", 2, "count", -1))
		},
		"first": func(m *machine, v Value, a args) Value { return end(m, v, false) },
		"last":  func(m *machine, v Value, a args) Value { return end(m, v, true) },
	}
}

// end is the first or last element, key or character.
func end(m *machine, v Value, last bool) Value {
	items, ok := sequence(v)
	if s, isText := v.(string); isText && s != "" {
		_, first := utf8.DecodeRuneInString(s)
		_, size := utf8.DecodeLastRuneInString(s)
		items = []Value{s[:first], s[len(s)-size:]}
	} else if !ok && !isText {
		items = m.iterate(v)
	}
	switch {
	case len(items) == 0:
		return undefined{"an end of an empty sequence"}
	case last:
		return items[len(items)-1]
	}
	return items[0]
}

func join(m *machine, v Value, a args) Value {
	separator := m.str(a.take(0, "d", ""))
	attribute := a.take(1, "attribute", nil)
	var out strings.Builder
	for i, item := range m.iterate(v) {
		m.work(1)
		if i > 0 {
			m.built(len(separator))
			out.WriteString(separator)
		}
		if attribute != nil {
			item = m.path(item, attribute)
		}
		part := m.str(item)
		m.built(len(part))
		out.WriteString(part)
	}
	return out.String()
}

// path is an attribute such as "function.name".
func (m *machine) path(v, attribute Value) Value {
	names, ok := attribute.(string)
	if !ok {
		return m.index(v, attribute, false)
	}
	m.work(len(names))
	for part := range strings.SplitSeq(names, ".") {
		if n, err := strconv.ParseInt(part, 10, 64); err == nil {
			v = m.index(v, n, false)
		} else {
			v = m.index(v, part, false)
		}
	}
	return v
}

func indent(m *machine, v Value, a args) Value {
	prefix := ""
	switch width := a.take(0, "width", int64(4)).(type) {
	case string:
		prefix = width
	default:
		prefix = m.repeat(" ", a.takeInt(m, "indent", 0, "width", 4)).(string)
	}
	first, blank := truth(a.take(1, "first", false)), truth(a.take(2, "blank", false))
	var out strings.Builder
	i := -1
	for line := range strings.SplitSeq(m.str(v), "\n") {
		if i++; i > 0 {
			out.WriteByte('\n')
		}
		m.work(1)
		m.built(len(prefix) + len(line) + 1)
		if i == 0 && first || i > 0 && (blank || line != "") {
			out.WriteString(prefix)
		}
		out.WriteString(line)
	}
	return out.String()
}

// maxNumber is how long a text may be to be read as a number, as in Python: a longer one is none.
const maxNumber = 4300

func toInt(m *machine, v Value, a args) Value {
	if n, x, isInt, ok := number(v); ok {
		if isInt {
			return n
		}
		if math.Abs(x) < 1<<63 {
			return int64(x)
		}
	}
	if s, ok := v.(string); ok && len(s) <= maxNumber {
		s = strings.TrimFunc(s, isSpace)
		if n, err := strconv.ParseInt(s, 10, 64); err == nil {
			return n
		}
		if x, err := strconv.ParseFloat(s, 64); err == nil && math.Abs(x) < 1<<63 {
			return int64(x)
		}
	}
	return a.take(0, "default", int64(0))
}

func toFloat(m *machine, v Value, a args) Value {
	if _, x, _, ok := number(v); ok {
		return x
	}
	if s, ok := v.(string); ok && len(s) <= maxNumber {
		if x, err := strconv.ParseFloat(strings.TrimFunc(s, isSpace), 64); err == nil {
			return x
		}
	}
	return a.take(0, "default", 0.0)
}

func absolute(m *machine, v Value, a args) Value {
	if n, x, isInt, ok := number(v); ok && !isInt {
		return math.Abs(x)
	} else if ok && n >= 0 {
		return n
	}
	return m.unary(unary{op: "-", line: m.line}, v)
}

func round(m *machine, v Value, a args) Value {
	_, x, _, ok := number(v)
	if !ok {
		m.fail("type %s has no rounding", typeName(v))
	}
	scale := math.Pow(10, float64(a.takeInt(m, "round", 0, "precision", 0)))
	switch method := a.takeString(m, "round", 1, "method", "common"); method {
	case "common":
		return math.RoundToEven(x*scale) / scale
	case "ceil":
		return math.Ceil(x*scale) / scale
	case "floor":
		return math.Floor(x*scale) / scale
	default:
		m.fail("round: method must be common, ceil or floor")
	}
	return nil
}
