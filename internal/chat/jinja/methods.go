package jinja

import "slices"

// changing are the methods that Jinja2's immutable sandbox refuses.
var changing = []string{"append", "extend", "insert", "remove", "sort", "reverse", "pop", "popitem", "clear", "update", "setdefault"}

// method gives a bound method of a string, list or dictionary.
func (m *machine) method(of Value, name string) (Value, bool) {
	bind := func(f func(m *machine, a args) Value) (Value, bool) { return function(f), true }
	switch of := of.(type) {
	case string:
		if f := stringMethods[name]; f != nil {
			return bind(func(m *machine, a args) Value {
				m.work(len(of)/64 + 1)
				return f(m, of, a)
			})
		}
	case *Dict:
		switch name {
		case "keys":
			return bind(func(m *machine, a args) Value { return List(m.iterate(of)) })
		case "values":
			return bind(func(m *machine, a args) Value {
				m.work(len(of.keys))
				m.built(16 * len(of.keys))
				out := make(List, len(of.keys))
				for i, k := range of.keys {
					out[i] = of.values[k]
				}
				return out
			})
		case "items":
			return bind(func(m *machine, a args) Value { return m.items(of) })
		case "get":
			return bind(func(m *machine, a args) Value {
				key, fallback := a.take(0, "key", nil), a.take(1, "default", nil)
				if s, ok := key.(string); ok {
					if v, ok := of.values[s]; ok {
						return v
					}
				}
				return fallback
			})
		}
		if _, isKey := of.values[name]; isKey {
			return nil, false
		}
		return refuseChange(of, name)
	case List:
		switch name {
		case "index", "count":
			return bind(func(m *machine, a args) Value {
				wanted, count := a.take(0, "value", nil), int64(0)
				for i, item := range of {
					if m.equal(item, wanted, 0) {
						if name == "index" {
							return int64(i)
						}
						count++
					}
				}
				if name == "index" {
					m.fail("the value is not in the list")
				}
				return count
			})
		}
		return refuseChange(of, name)
	}
	return nil, false
}

func refuseChange(of Value, name string) (Value, bool) {
	if !slices.Contains(changing, name) {
		return nil, false
	}
	return function(func(m *machine, a args) Value {
		m.fail("'%s.%s' is refused: templates cannot change values in place", typeName(of), name)
		return nil
	}), true
}

func (m *machine) items(d *Dict) List {
	m.work(len(d.keys))
	m.built(64 * len(d.keys))
	out := make(List, len(d.keys))
	for i, k := range d.keys {
		out[i] = tuple{k, d.values[k]}
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
