package jinja

import (
	"iter"
	"maps"
	"strings"
)

// functions that every template has.
var functions = map[string]builtin{
	"range": numberRange, "namespace": newNamespace, "dict": newDict, "raise_exception": raise, "strftime_now": formatNow,
	"cycler": unsupported("cycler"), "joiner": unsupported("joiner"), "lipsum": unsupported("lipsum"),
}

func unsupported(name string) builtin {
	return func(m *machine, _ Value, a args) Value {
		fail(m.line, Unsupported, "the function %q", name)
		return nil
	}
}

// globals are the functions that every template has, and the caller's variables over them.
func (m *machine) globals(variables map[string]Value) map[string]Value {
	all := map[string]Value{}
	for name, f := range functions {
		all[name] = function{name, nil, f}
	}
	maps.Copy(all, variables)
	return all
}

func numberRange(m *machine, _ Value, a args) Value {
	bounds := [3]int64{0, 0, 1}
	switch len(a.positional) {
	case 1:
		bounds[1] = a.takeInt(m, "range", 0, "stop", 0)
	case 2, 3:
		for i := range a.positional {
			bounds[i] = a.takeInt(m, "range", i, "bound", 0)
		}
	default:
		m.fail("range expected 1 to 3 arguments")
	}
	from, to, by := bounds[0], bounds[1], bounds[2]
	if by == 0 {
		m.fail("range() arg 3 must not be zero")
	}
	count := 0
	for range numbers(from, to, by) {
		if count++; count > maxRange {
			fail(m.line, Limit, "a range of more than %d numbers", maxRange)
		}
	}
	m.work(count)
	m.built(2 * valueBytes * count)
	out := make(List, 0, count)
	for i := range numbers(from, to, by) {
		out = append(out, i)
	}
	return out
}

// numbers are those of Python's range.
func numbers(from, to, by int64) iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for i := from; by > 0 && i < to || by < 0 && i > to; i += by {
			if !yield(i) || by > 0 && i > to-by || by < 0 && i < to-by {
				return
			}
		}
	}
}

func pairs(m *machine, a args, set func(string, Value)) {
	for _, v := range a.positional {
		d, ok := v.(*Dict)
		if !ok {
			m.fail("a dictionary is expected, not a '%s'", typeName(v))
		}
		m.built(memberBytes * len(d.keys))
		for _, k := range d.keys {
			name, ok := k.(string)
			if !ok {
				fail(m.line, Unsupported, "a name that is a '%s'", typeName(k))
			}
			v, _ := m.member(d, k)
			set(name, v)
		}
	}
	for _, k := range a.order {
		set(k, a.named[k])
	}
}

func newNamespace(m *machine, _ Value, a args) Value {
	ns := &namespace{map[string]Value{}}
	pairs(m, a, func(k string, v Value) { ns.vars[k] = v })
	return ns
}

func newDict(m *machine, _ Value, a args) Value {
	d := &Dict{}
	pairs(m, a, d.Set)
	return d
}

func raise(m *machine, _ Value, a args) Value {
	fail(m.line, Raised, "the template says: %.500s", m.str(a.take(0, "message", "")))
	return nil
}

// formatNow is datetime.now().strftime(format).
func formatNow(m *machine, _ Value, a args) Value {
	format := a.takeString(m, "strftime_now", 0, "format", "")
	var out strings.Builder
	for i := 0; i < len(format); i++ {
		m.work(1)
		if format[i] != '%' {
			out.WriteByte(format[i])
			continue
		}
		i++
		layout := ""
		if i < len(format) {
			layout = layouts[format[i]]
		}
		if layout == "" {
			fail(m.line, Unsupported, "strftime_now(%.40q)", format)
		}
		m.work(2)
		out.WriteString(m.now.Format(layout))
	}
	return m.text(out.String())
}

// layouts are Go's for strftime's directives.
var layouts = map[byte]string{
	'a': "Mon", 'A': "Monday", 'b': "Jan", 'B': "January", 'd': "02", 'm': "01", 'y': "06", 'Y': "2006", 'H': "15", 'I': "03",
	'M': "04", 'S': "05", 'p': "PM", 'j': "002", 'F': "2006-01-02", 'T': "15:04:05", '%': "%",
}
