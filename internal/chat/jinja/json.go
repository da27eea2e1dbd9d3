package jinja

import (
	"fmt"
	"strings"
)

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
	switch v := plain(v).(type) {
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
			keys = sortedBy(w.m, keys, func(key Value) Value { return key }, false)
		}
		w.group("{", "}", len(keys), depth, func(i int) {
			w.name(keys[i])
			w.add(w.key)
			of, _ := w.m.member(v, keys[i])
			w.write(of, depth+1)
		})
	default:
		w.m.fail("Object of type %s is not JSON serializable", typeName(v))
	}
}

// name writes a key, which JSON has as a string.
func (w *jsonWriter) name(key Value) {
	text, isString := key.(string)
	switch k := key.(type) {
	case nil:
		text = "null"
	case bool:
		text = fmt.Sprint(k)
	default:
		if !isString {
			text = w.m.str(key)
		}
	}
	w.quote(text)
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
