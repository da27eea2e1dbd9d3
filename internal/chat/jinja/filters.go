package jinja

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// filters by name. init breaks the cycle map -> {filter -> filters}.
var filters map[string]func(m *machine, v Value, a args) Value

func init() {
	length := func(m *machine, v Value, a args) Value { return int64(m.length(v)) }
	fallback := func(m *machine, v Value, a args) Value {
		_, missing := v.(undefined)
		if missing || truth(a.take(1, "boolean", false)) && !truth(v) {
			return a.take(0, "default_value", "")
		}
		return v
	}
	filters = map[string]func(m *machine, v Value, a args) Value{
		"length": length, "count": length,
		"default": fallback, "d": fallback,
		"trim":       func(m *machine, v Value, a args) Value { return stripped(m, m.str(v), a, true, true) },
		"upper":      func(m *machine, v Value, a args) Value { return m.text(strings.ToUpper(m.str(v))) },
		"lower":      func(m *machine, v Value, a args) Value { return m.text(strings.ToLower(m.str(v))) },
		"title":      func(m *machine, v Value, a args) Value { return m.text(titled(m.str(v), true)) },
		"capitalize": func(m *machine, v Value, a args) Value { return m.text(capitalized(m.str(v))) },
		"string":     func(m *machine, v Value, a args) Value { return m.str(v) },
		"safe":       func(m *machine, v Value, a args) Value { return m.str(v) },
		"tojson":     toJSON,
		"join":       join,
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
		"first": func(m *machine, v Value, a args) Value {
			if all := m.iterate(v); len(all) > 0 {
				return all[0]
			}
			return undefined{"the first item of an empty sequence"}
		},
		"last": func(m *machine, v Value, a args) Value {
			if all := m.iterate(v); len(all) > 0 {
				return all[len(all)-1]
			}
			return undefined{"the last item of an empty sequence"}
		},
	}
}

func join(m *machine, v Value, a args) Value {
	separator := m.str(a.take(0, "d", ""))
	attribute := a.take(1, "attribute", nil)
	var out strings.Builder
	for i, item := range m.iterate(v) {
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
	for i, line := range strings.Split(m.str(v), "\n") {
		if i > 0 {
			out.WriteByte('\n')
		}
		m.built(len(prefix) + len(line) + 1)
		if i == 0 && first || i > 0 && (blank || line != "") {
			out.WriteString(prefix)
		}
		out.WriteString(line)
	}
	return out.String()
}

func toInt(m *machine, v Value, a args) Value {
	if n, x, isInt, ok := number(v); ok {
		if isInt {
			return n
		}
		if math.Abs(x) < 1<<63 {
			return int64(x)
		}
	}
	if s, ok := v.(string); ok {
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
	if s, ok := v.(string); ok {
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

func sum(m *machine, v Value, a args) Value {
	attribute, total := a.take(0, "attribute", nil), a.take(1, "start", int64(0))
	for _, item := range m.iterate(v) {
		if attribute != nil {
			item = m.path(item, attribute)
		}
		total = m.arithmetic("+", total, item)
	}
	return total
}

func extreme(m *machine, v Value, a args, sign int) Value {
	all := m.iterate(v)
	if len(all) == 0 {
		return undefined{"the extreme of an empty sequence"}
	}
	key := sortKey(m, a, 0, 1)
	best := all[0]
	for _, item := range all[1:] {
		if m.order(key(item), key(best))*sign > 0 {
			best = item
		}
	}
	return best
}

func (m *machine) order(a, b Value) int {
	if m.less(a, b, 0) {
		return -1
	}
	if m.less(b, a, 0) {
		return 1
	}
	return 0
}

// sortKey is by attribute, and without case_sensitive in lower case.
func sortKey(m *machine, a args, casePosition, attributePosition int) func(Value) Value {
	sensitive := truth(a.take(casePosition, "case_sensitive", false))
	attribute := a.take(attributePosition, "attribute", nil)
	return func(v Value) Value {
		if attribute != nil {
			v = m.path(v, attribute)
		}
		if s, ok := v.(string); ok && !sensitive {
			return m.text(strings.ToLower(s))
		}
		return v
	}
}

func sortedBy(m *machine, all []Value, key func(Value) Value, reverse bool) List {
	m.built(16 * len(all))
	out := slices.Clone(all)
	slices.SortStableFunc(out, func(a, b Value) int {
		if reverse {
			a, b = b, a
		}
		return m.order(key(a), key(b))
	})
	return out
}

func sorted(m *machine, v Value, a args) Value {
	return sortedBy(m, m.iterate(v), sortKey(m, a, 1, 2), truth(a.take(0, "reverse", false)))
}

func dictSort(m *machine, v Value, a args) Value {
	d, ok := v.(*Dict)
	if !ok {
		m.fail("dictsort of a '%s'", typeName(v))
	}
	position := 0
	if a.takeString(m, "dictsort", 1, "by", "key") == "value" {
		position = 1
	}
	lower := sortKey(m, a, 0, 3)
	return sortedBy(m, m.items(d), func(v Value) Value { return lower(v.(tuple)[position]) }, truth(a.take(2, "reverse", false)))
}

func unique(m *machine, v Value, a args) Value {
	key := sortKey(m, a, 0, 1)
	var keys []Value
	out := List{}
	for _, item := range m.iterate(v) {
		k := key(item)
		if !slices.ContainsFunc(keys, func(seen Value) bool { return m.equal(seen, k, 0) }) {
			keys, out = append(keys, k), append(out, item)
		}
	}
	m.built(32 * len(out))
	return out
}

func reversed(m *machine, v Value, a args) Value {
	if s, ok := v.(string); ok {
		m.work(len(s) / 16)
		m.built(len(s))
		out := make([]byte, 0, len(s))
		for len(s) > 0 {
			_, n := utf8.DecodeLastRuneInString(s)
			out = append(out, s[len(s)-n:]...)
			s = s[:len(s)-n]
		}
		return string(out)
	}
	out := slices.Clone(m.iterate(v))
	m.built(16 * len(out))
	slices.Reverse(out)
	return List(out)
}

func items(m *machine, v Value, a args) Value {
	switch v := v.(type) {
	case undefined:
		return List{}
	case *Dict:
		return m.items(v)
	}
	m.fail("can only get item pairs from a mapping")
	return nil
}

// mapped applies an attribute or a filter to every element.
func mapped(m *machine, v Value, a args) Value {
	var apply func(Value) Value
	if attribute, ok := a.named["attribute"]; ok {
		missing, hasDefault := a.named["default"]
		apply = func(item Value) Value {
			out := m.path(item, attribute)
			if _, absent := out.(undefined); absent && hasDefault {
				return missing
			}
			return out
		}
	} else {
		name := a.takeString(m, "map", 0, "filter", "")
		f := filters[name]
		if f == nil {
			fail(m.line, Unsupported, "the filter %q", name)
		}
		rest := args{a.positional[min(1, len(a.positional)):], a.named}
		m.enter()
		defer m.leave()
		apply = func(item Value) Value { return f(m, item, rest) }
	}
	out := List{}
	for _, item := range m.iterate(v) {
		m.work(1)
		out = append(out, apply(item))
	}
	m.built(16 * len(out))
	return out
}

// selected keeps the elements for which a test holds, or that are true; byAttribute tests a part of each.
func selected(m *machine, v Value, a args, byAttribute, keep bool) Value {
	rest := a.positional
	var attribute Value
	if byAttribute {
		if len(rest) == 0 {
			m.fail("the attribute is missing")
		}
		attribute, rest = rest[0], rest[1:]
	}
	holds := func(m *machine, v Value, a args) bool { return truth(v) }
	if len(rest) > 0 {
		name, _ := rest[0].(string)
		if holds = tests[name]; holds == nil {
			fail(m.line, Unsupported, "the test %q", m.str(rest[0]))
		}
		rest = rest[1:]
	}
	out := List{}
	for _, item := range m.iterate(v) {
		m.work(1)
		part := item
		if byAttribute {
			part = m.path(item, attribute)
		}
		if holds(m, part, args{rest, a.named}) == keep {
			out = append(out, item)
		}
	}
	m.built(16 * len(out))
	return out
}
