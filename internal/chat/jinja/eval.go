package jinja

import "strings"

// args are evaluated arguments.
type args struct {
	positional []Value
	named      map[string]Value
	order      []string // of the names
}

func (m *machine) arguments(a arguments, s *scope, line int) args {
	out := args{positional: make([]Value, len(a.positional))}
	for i, e := range a.positional {
		out.positional[i] = m.eval(e, s)
	}
	add := func(name string, v Value) {
		if _, twice := out.named[name]; twice {
			m.line = line
			m.fail("got multiple values for keyword argument '%s'", name)
		}
		if out.named == nil {
			out.named = map[string]Value{}
		}
		out.named[name], out.order = v, append(out.order, name)
	}
	for i, e := range a.named {
		add(a.names[i], m.eval(e, s))
	}
	if a.list != nil {
		more := m.eval(a.list, s)
		m.line = line
		items := m.iterate(more)
		m.built(valueBytes * len(items))
		out.positional = append(out.positional, items...)
	}
	if a.dict != nil {
		more := m.eval(a.dict, s)
		m.line = line
		d, ok := more.(*Dict)
		if !ok {
			m.fail("argument after ** must be a mapping, not %s", typeName(more))
		}
		m.built(memberBytes * len(d.keys))
		for _, k := range d.keys {
			name, ok := k.(string)
			if !ok {
				m.fail("keywords must be strings")
			}
			v, _ := m.member(d, k)
			add(name, v)
		}
	}
	return out
}

func (m *machine) eval(e expression, s *scope) Value {
	m.work(1)
	switch e := e.(type) {
	case literal:
		return e.value
	case captured:
		v, _ := m.lookup(s, capturedName)
		return v
	case name:
		if v, ok := m.lookup(s, e.name); ok {
			return v
		}
		return undefined{e.name}
	case index:
		of, key := m.eval(e.of, s), m.eval(e.key, s)
		m.line = e.line
		return m.index(of, key, e.dot)
	case slice:
		return m.slice(e, s)
	case call:
		of := m.eval(e.of, s)
		return m.call(of, m.arguments(e.arguments, s, e.line), e.line)
	case filter:
		of := m.eval(e.of, s)
		a := m.arguments(e.arguments, s, e.line)
		m.line = e.line
		if filters[e.name] == nil {
			fail(e.line, Unsupported, "the filter %q", e.name)
		}
		return m.apply(inFilters, e.name, filters[e.name], of, a)
	case test:
		of := m.eval(e.of, s)
		a := m.arguments(e.arguments, s, e.line)
		m.line = e.line
		if tests[e.name] == nil {
			fail(e.line, Unsupported, "the test %q", e.name)
		}
		return m.apply(inTests, e.name, tests[e.name], of, a)
	case unary:
		return m.unary(e, m.eval(e.of, s))
	case binary:
		left := m.eval(e.left, s)
		// "and" and "or" give one of their operands, and may skip the right one.
		if e.op == "and" && !truth(left) || e.op == "or" && truth(left) {
			return left
		}
		right := m.eval(e.right, s)
		if e.op == "and" || e.op == "or" {
			return right
		}
		m.line = e.line
		return m.arithmetic(e.op, left, right)
	case comparison:
		left := m.eval(e.first, s)
		for _, next := range e.rest {
			right := m.eval(next.value, s)
			m.line = e.line
			if !m.compare(next.op, left, right) {
				return false
			}
			left = right
		}
		return true
	case concat:
		var out strings.Builder
		for _, part := range e.parts {
			text := m.str(m.eval(part, s))
			m.line = e.line
			m.built(len(text))
			out.WriteString(text)
		}
		return out.String()
	case conditional:
		if truth(m.eval(e.condition, s)) {
			return m.eval(e.then, s)
		}
		if e.otherwise == nil {
			return undefined{"the inline if-expression"}
		}
		return m.eval(e.otherwise, s)
	case list:
		m.built(valueBytes * (len(e.items) + 2))
		items := make([]Value, len(e.items))
		for i, item := range e.items {
			items[i] = m.eval(item, s)
		}
		if e.tuple {
			return tuple(items)
		}
		return List(items)
	case dictionary:
		m.built(memberBytes * (len(e.keys) + 1))
		d := &Dict{}
		for i, k := range e.keys {
			key := plain(m.eval(k, s))
			if _, ok := hashed(key); !ok {
				fail(e.line, Unsupported, "a '%s' as the key of a dictionary", typeName(key))
			}
			m.readsValue(key)
			d.set(key, m.eval(e.values[i], s))
		}
		return d
	}
	panic("jinja: no case for an expression")
}

func (m *machine) call(of Value, a args, line int) Value {
	m.line = line
	switch f := of.(type) {
	case function:
		return m.apply(inMethods, f.name, f.run, f.of, a)
	case *macro:
		return f.call(m, a)
	case undefined:
		m.fail("'%s' is undefined", f.name)
	}
	m.fail("'%s' object is not callable", typeName(of))
	return nil
}

func (m *machine) unary(e unary, v Value) Value {
	m.line = e.line
	if e.op == "not" {
		return !truth(v)
	}
	n, x, isInt, ok := number(v)
	if !ok {
		m.undefinedOperand(v)
		m.fail("bad operand type for unary %s: '%s'", e.op, typeName(v))
	}
	if isInt {
		if e.op == "-" {
			n = -n
		}
		return n
	}
	if e.op == "-" {
		x = -x
	}
	return x
}

func (m *machine) undefinedOperand(values ...Value) {
	for _, v := range values {
		if u, ok := v.(undefined); ok {
			m.fail("'%s' is undefined", u.name)
		}
	}
}

func (m *machine) compare(op string, a, b Value) bool {
	switch op {
	case "==":
		return m.equal(a, b, 0)
	case "!=":
		return !m.equal(a, b, 0)
	case "in":
		return m.contains(b, a)
	case "not in":
		return !m.contains(b, a)
	}
	m.undefinedOperand(a, b)
	switch op {
	case "<":
		return m.less(a, b, 0)
	case ">":
		return m.less(b, a, 0)
	case "<=":
		return m.less(a, b, 0) || m.equal(a, b, 0)
	}
	return m.less(b, a, 0) || m.equal(a, b, 0)
}

func (m *machine) contains(in, v Value) bool {
	in, v = plain(in), plain(v)
	switch in := in.(type) {
	case string:
		s, ok := v.(string)
		if !ok {
			m.undefinedOperand(v)
			m.fail("'in <string>' requires string as left operand, not %s", typeName(v))
		}
		m.reads(in)
		m.reads(s)
		return strings.Contains(in, s)
	case *Dict:
		_, ok := m.member(in, v)
		return ok
	case nil, bool, int64, float64:
		m.fail("argument of type '%s' is not iterable", typeName(in))
	}
	for _, item := range m.iterate(in) {
		if m.equal(item, v, 0) {
			return true
		}
	}
	return false
}
