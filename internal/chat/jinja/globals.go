package jinja

import (
	"fmt"
	"maps"
	"slices"
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
	out := List{}
	for i := from; by > 0 && i < to || by < 0 && i > to; i += by {
		if len(out) >= maxRange {
			fail(m.line, Limit, "a range of more than %d numbers", maxRange)
		}
		out = append(out, i)
		if by > 0 && i > to-by || by < 0 && i < to-by {
			break
		}
	}
	m.work(len(out))
	m.built(16 * len(out))
	return out
}

func pairs(m *machine, a args, set func(string, Value)) {
	for _, v := range a.positional {
		d, ok := v.(*Dict)
		if !ok {
			m.fail("a dictionary is expected, not a '%s'", typeName(v))
		}
		m.built(memberBytes * len(d.keys))
		for _, k := range d.keys {
			v, _ := m.member(d, k)
			set(k, v)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(a.named)) {
		set(k, a.named[k])
	}
}

func newNamespace(m *machine, _ Value, a args) Value {
	ns := &namespace{map[string]Value{}}
	pairs(m, a, func(k string, v Value) { ns.vars[k] = v })
	return ns
}

func newDict(m *machine, _ Value, a args) Value {
	if len(a.named) > 1 {
		fail(m.line, Unsupported, "dict() with several keyword arguments; write {…}")
	}
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

// toJSON is json.dumps with ensure_ascii=False, as transformers sets it up.
func toJSON(m *machine, v Value, a args) Value {
	w := jsonWriter{m: m, item: ", ", key: ": "}
	w.ascii = truth(a.take(0, "ensure_ascii", false))
	w.sortKeys = truth(a.take(3, "sort_keys", false))
	switch indent := a.take(1, "indent", nil).(type) {
	case nil:
	case string:
		w.indented, w.indent = true, indent
	default:
		n := max(0, a.takeInt(m, "tojson", 1, "indent", 0))
		w.indented, w.indent = true, m.repeat(" ", n).(string)
	}
	if w.indented {
		w.item = ","
	}
	if separators := a.take(2, "separators", nil); separators != nil {
		both := m.unpack(separators, 2)
		w.item, w.key = m.str(both[0]), m.str(both[1])
	}
	w.write(v, 0)
	return w.out.String()
}

type jsonWriter struct {
	m                         *machine
	out                       strings.Builder
	indent, item, key         string
	indented, ascii, sortKeys bool
}

func (w *jsonWriter) add(s string) {
	w.m.built(len(s))
	w.out.WriteString(s)
}

func (w *jsonWriter) write(v Value, depth int) {
	w.m.work(1)
	w.m.checkDepth(depth)
	switch v := v.(type) {
	case nil:
		w.add("null")
	case bool:
		w.add(fmt.Sprint(v))
	case int64, float64:
		text := w.m.str(v)
		w.add(strings.NewReplacer("inf", "Infinity", "nan", "NaN").Replace(text))
	case string:
		w.quote(v)
	case List, tuple:
		all, _ := sequence(v)
		w.group("[", "]", len(all), depth, func(i int) { w.write(all[i], depth+1) })
	case *Dict:
		keys := v.keys
		if w.sortKeys {
			keys = slices.Sorted(slices.Values(keys))
		}
		w.group("{", "}", len(keys), depth, func(i int) {
			w.quote(keys[i])
			w.add(w.key)
			of, _ := w.m.member(v, keys[i])
			w.write(of, depth+1)
		})
	default:
		w.m.fail("Object of type %s is not JSON serializable", typeName(v))
	}
}

func (w *jsonWriter) group(open, close string, n, depth int, item func(int)) {
	w.add(open)
	for i := range n {
		if i > 0 {
			w.add(w.item)
		}
		w.newline(depth + 1)
		item(i)
	}
	if n > 0 {
		w.newline(depth)
	}
	w.add(close)
}

func (w *jsonWriter) newline(depth int) {
	if w.indented {
		w.m.work(depth)
		w.add("\n")
		for range depth {
			w.add(w.indent)
		}
	}
}

func (w *jsonWriter) quote(s string) {
	w.m.reads(s)
	w.m.built(len(s) + 2)
	w.out.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			w.out.WriteByte('\\')
			w.out.WriteRune(r)
		case r == '\n':
			w.out.WriteString(`\n`)
		case r == '\r':
			w.out.WriteString(`\r`)
		case r == '\t':
			w.out.WriteString(`\t`)
		case r == '\b':
			w.out.WriteString(`\b`)
		case r == '\f':
			w.out.WriteString(`\f`)
		case r < 0x20 || w.ascii && r >= 0x7f && r < 0x10000:
			w.m.escape(&w.out, 'u', 4, r)
		case w.ascii && r >= 0x10000:
			r -= 0x10000
			w.m.escape(&w.out, 'u', 4, 0xD800+r>>10)
			w.m.escape(&w.out, 'u', 4, 0xDC00+r&0x3FF)
		default:
			w.out.WriteRune(r)
		}
	}
	w.out.WriteByte('"')
}
