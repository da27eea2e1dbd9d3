package jinja

import "unicode/utf8"

// index is x.key or x[key]. The dot looks for a method first, the bracket for an element, as in Jinja2; what is not
// there is undefined, and a part of something undefined an error.
func (m *machine) index(of, key Value, dot bool) Value {
	key = plain(key)
	attribute, isName := key.(string)
	m.reads(attribute)
	if u, ok := of.(undefined); ok {
		m.fail("'%s' is undefined", u.name)
	}
	if dot {
		if v, ok := m.method(of, attribute); ok {
			return v
		}
	}
	switch of := of.(type) {
	case *Dict:
		if v, ok := m.member(of, key); ok {
			return v
		}
	case *namespace:
		if v, ok := of.vars[attribute]; ok && isName {
			return v
		}
	case *loop:
		if v, ok := of.attribute(m, attribute); ok {
			return v
		}
	default:
		if n, _, isInt, ok := number(key); ok && isInt {
			return m.element(of, n)
		}
	}
	if isName && !dot {
		if v, ok := m.method(of, attribute); ok {
			return v
		}
	}
	if isName {
		return undefined{attribute}
	}
	return undefined{m.str(key)}
}

func (m *machine) element(of Value, n int64) Value {
	at := func(length int) (int, bool) {
		if n < 0 {
			n += int64(length)
		}
		return int(n), n >= 0 && n < int64(length)
	}
	if items, ok := sequence(of); ok {
		if i, ok := at(len(items)); ok {
			return items[i]
		}
	} else if s, ok := plain(of).(string); ok {
		if i, ok := at(m.length(s)); ok {
			begin := byteOffset(m, s, i)
			_, size := utf8.DecodeRuneInString(s[begin:])
			return s[begin : begin+size]
		}
	}
	return undefined{"an element"}
}

// byteOffset is where the character with the given index begins.
func byteOffset(m *machine, s string, character int) int {
	m.reads(s)
	for i := range s {
		if character == 0 {
			return i
		}
		character--
	}
	return len(s)
}

func (m *machine) slice(e slice, s *scope) Value {
	of := m.eval(e.of, s)
	var bounds [3]*int64
	for i, b := range []expression{e.from, e.to, e.step} {
		if b == nil {
			continue
		}
		v := m.eval(b, s)
		m.line = e.line
		if n, _, isInt, ok := number(v); ok && isInt {
			bounds[i] = &n
		} else if v != nil {
			m.undefinedOperand(v)
			m.fail("slice indices must be integers or None")
		}
	}
	m.line = e.line
	m.undefinedOperand(of)
	if text, ok := plain(of).(string); ok {
		return m.sliceText(text, bounds)
	}
	items, ok := sequence(of)
	if !ok {
		m.fail("'%s' object cannot be sliced", typeName(of))
	}
	first, n, by := m.sliceIndices(len(items), bounds)
	m.work(n)
	m.built(valueBytes * (n + 1))
	out := make([]Value, n)
	for i := range out {
		out[i] = items[first+i*by]
	}
	if _, ok := of.(tuple); ok {
		return tuple(out)
	}
	return List(out)
}

func (m *machine) sliceText(text string, bounds [3]*int64) string {
	first, n, by := m.sliceIndices(m.length(text), bounds)
	if by == 1 {
		begin := byteOffset(m, text, first)
		return text[begin : begin+byteOffset(m, text[begin:], n)]
	}
	m.built(4*len(text) + 8*n)
	m.work(n)
	characters := []rune(text)
	out := make([]rune, n)
	for i := range out {
		out[i] = characters[first+i*by]
	}
	return string(out)
}

// sliceIndices is Python's slice.indices: n elements from first on, by apart.
func (m *machine) sliceIndices(length int, bounds [3]*int64) (first, n, by int) {
	step, size := int64(1), int64(length)
	if bounds[2] != nil {
		step = *bounds[2]
	}
	if step == 0 {
		m.fail("slice step cannot be zero")
	}
	low, high := int64(0), size
	begin, end := low, high
	if step < 0 {
		low, high = -1, size-1
		begin, end = high, low
	}
	clip := func(v int64) int64 {
		if v < 0 {
			v += size
		}
		return min(max(v, low), high)
	}
	if bounds[0] != nil {
		begin = clip(*bounds[0])
	}
	if bounds[1] != nil {
		end = clip(*bounds[1])
	}
	// No step is longer than what it steps over, so that nothing overflows.
	step = min(max(step, -size-1), size+1)
	distance, stride := end-begin, step
	if step < 0 {
		distance, stride = -distance, -step
	}
	if distance <= 0 {
		return 0, 0, 1
	}
	return int(begin), int((distance + stride - 1) / stride), int(step)
}

// attribute is what a template may ask of the variable "loop".
func (l *loop) attribute(m *machine, name string) (Value, bool) {
	n, at := int64(len(l.items)), int64(l.at)
	switch name {
	case "index":
		return at + 1, true
	case "index0":
		return at, true
	case "revindex":
		return n - at, true
	case "revindex0":
		return n - at - 1, true
	case "first":
		return at == 0, true
	case "last":
		return at == n-1, true
	case "length":
		return n, true
	case "depth": // only recursive loops are deeper
		return int64(1), true
	case "depth0":
		return int64(0), true
	case "previtem":
		if l.at > 0 {
			return l.items[l.at-1], true
		}
	case "nextitem":
		if l.at+1 < len(l.items) {
			return l.items[l.at+1], true
		}
	case "cycle":
		return function{name, nil, func(m *machine, _ Value, a args) Value {
			if len(a.positional) == 0 {
				m.fail("no items for cycling given")
			}
			return a.positional[l.at%len(a.positional)]
		}}, true
	case "changed":
		return function{name, nil, func(m *machine, _ Value, a args) Value {
			now := List(a.positional)
			same := l.last != nil && m.equal(*l.last, now, 0)
			l.last = &now
			return !same
		}}, true
	}
	return nil, false
}
