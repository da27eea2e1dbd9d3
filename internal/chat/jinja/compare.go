package jinja

// equal is Python's ==. depth bounds the nesting.
func (m *machine) equal(a, b Value, depth int) bool {
	m.work(1)
	m.checkDepth(depth)
	a, b = plain(a), plain(b)
	if n, x, aInt, ok := number(a); ok {
		k, y, bInt, ok := number(b)
		if aInt && bInt {
			return ok && n == k
		}
		return ok && x == y
	}
	switch a := a.(type) {
	case nil:
		return b == nil
	case undefined:
		_, ok := b.(undefined)
		return ok
	case string:
		s, ok := b.(string)
		if !ok || len(a) != len(s) {
			return false
		}
		m.reads(s)
		return a == s
	case List:
		b, ok := b.(List)
		return ok && m.equalItems(a, b, depth)
	case tuple:
		b, ok := b.(tuple)
		return ok && m.equalItems(a, b, depth)
	case *Dict:
		b, ok := b.(*Dict)
		if !ok || len(a.keys) != len(b.keys) {
			return false
		}
		for _, k := range a.keys {
			other, ok := m.member(b, k)
			if own, _ := m.member(a, k); !ok || !m.equal(own, other, depth+1) {
				return false
			}
		}
		return true
	case function:
		return false
	}
	if _, ok := b.(function); ok {
		return false
	}
	if _, ok := sequence(b); ok {
		return false
	}
	return a == b
}

func (m *machine) equalItems(a, b []Value, depth int) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !m.equal(a[i], b[i], depth+1) {
			return false
		}
	}
	return true
}

// less is Python's <, which orders numbers, strings, and lists of them.
func (m *machine) less(a, b Value, depth int) bool {
	m.work(1)
	m.checkDepth(depth)
	a, b = plain(a), plain(b)
	n, x, aInt, okA := number(a)
	k, y, bInt, okB := number(b)
	if okA && okB {
		if aInt && bInt {
			return n < k
		}
		return x < y
	}
	if s, ok := a.(string); ok {
		if t, ok := b.(string); ok {
			m.reads(s[:min(len(s), len(t))])
			return s < t // UTF-8 keeps the order of code points
		}
	}
	p, okP := sequence(a)
	q, okQ := sequence(b)
	if okP && okQ && typeName(a) == typeName(b) {
		for i := range min(len(p), len(q)) {
			if !m.equal(p[i], q[i], depth+1) {
				return m.less(p[i], q[i], depth+1)
			}
		}
		return len(p) < len(q)
	}
	m.fail("'<' not supported between instances of '%s' and '%s'", typeName(a), typeName(b))
	return false
}

func (m *machine) checkDepth(depth int) {
	if depth > maxDepth {
		fail(m.line, Limit, "values nested deeper than %d levels", maxDepth)
	}
}
