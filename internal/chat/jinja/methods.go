package jinja

import "slices"

// changing are the methods that Jinja2's immutable sandbox refuses.
var changing = []string{"append", "extend", "insert", "remove", "sort", "reverse", "pop", "popitem", "clear", "update", "setdefault"}

// method gives a bound method of a string, list or dictionary.
func (m *machine) method(of Value, name string) (Value, bool) {
	var methods map[string]builtin
	switch v := of.(type) {
	case string, markup:
		methods = stringMethods
	case *Dict:
		methods = dictMethods
		if _, isKey := m.member(v, name); isKey && methods[name] == nil {
			return nil, false
		}
	case List:
		methods = listMethods
	default:
		return nil, false
	}
	if f := methods[name]; f != nil {
		return function{name, of, f}, true
	}
	if _, isText := plain(of).(string); isText || !slices.Contains(changing, name) {
		return nil, false
	}
	return function{name, of, func(m *machine, of Value, a args) Value {
		m.fail("'%s.%s' is refused: templates cannot change values in place", typeName(of), name)
		return nil
	}}, true
}

var dictMethods = map[string]builtin{
	"keys": func(m *machine, of Value, a args) Value { return List(m.iterate(of)) },
	"values": func(m *machine, of Value, a args) Value {
		d := of.(*Dict)
		m.built(valueBytes * len(d.keys))
		out := make(List, len(d.keys))
		for i, k := range d.keys {
			out[i], _ = m.member(d, k)
		}
		return out
	},
	"items": func(m *machine, of Value, a args) Value { return m.items(of.(*Dict)) },
	"get": func(m *machine, of Value, a args) Value {
		key, fallback := a.take(0, "key", nil), a.take(1, "default", nil)
		if v, ok := m.member(of.(*Dict), key); ok {
			return v
		}
		return fallback
	},
}

var listMethods = map[string]builtin{
	"index": func(m *machine, of Value, a args) Value {
		wanted := a.take(0, "value", nil)
		for i, item := range of.(List) {
			if m.equal(item, wanted, 0) {
				return int64(i)
			}
		}
		m.fail("the value is not in the list")
		return nil
	},
	"count": func(m *machine, of Value, a args) Value {
		wanted, count := a.take(0, "value", nil), int64(0)
		for _, item := range of.(List) {
			if m.equal(item, wanted, 0) {
				count++
			}
		}
		return count
	},
}

func (m *machine) items(d *Dict) List {
	m.built(4 * valueBytes * len(d.keys))
	out := make(List, len(d.keys))
	for i, k := range d.keys {
		v, _ := m.member(d, k)
		out[i] = tuple{k, v}
	}
	return out
}

// take is the argument at a position or of that name.
func (a args) take(position int, name string, fallback Value) Value {
	if position < len(a.positional) {
		return a.positional[position]
	}
	if v, ok := a.named[name]; ok {
		return v
	}
	return fallback
}

func (a args) takeString(m *machine, function string, position int, name, fallback string) string {
	v := a.take(position, name, fallback)
	s, ok := v.(string)
	if !ok {
		m.fail("%s: '%s' must be str, not %s", function, name, typeName(v))
	}
	return s
}

func (a args) takeInt(m *machine, function string, position int, name string, fallback int64) int64 {
	v := a.take(position, name, fallback)
	n, _, isInt, ok := number(v)
	if !ok || !isInt {
		m.fail("%s: '%s' must be int, not %s", function, name, typeName(v))
	}
	return n
}
