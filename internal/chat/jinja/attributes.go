package jinja

import "unicode/utf8"

// index is x.key or x[key]. The dot looks for a method first, the bracket for an element, as in Jinja2; what is not
// there is undefined, and a part of something undefined an error.
func (m *machine) index(of, key Value, dot bool) Value {
	attribute, isName := key.(string)
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
		if isName {
			if v, ok := of.values[attribute]; ok {
				return v
			}
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
	} else if s, ok := of.(string); ok {
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
	m.work(len(s) / 64)
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
	var characters []rune
	items, isList := sequence(of)
	length := len(items)
	if text, ok := of.(string); ok {
		m.built(4 * len(text))
		m.work(len(text) / 16)
		characters = []rune(text)
		length = len(characters)
	} else if !isList {
		m.fail("'%s' object cannot be sliced", typeName(of))
	}
	picked := m.sliceIndices(length, bounds[0], bounds[1], bounds[2])
	m.work(len(picked))
	m.built(16 * len(picked))
	if characters != nil || !isList {
		out := make([]rune, len(picked))
		for i, at := range picked {
			out[i] = characters[at]
		}
		return string(out)
	}
	out := make([]Value, len(picked))
	for i, at := range picked {
		out[i] = items[at]
	}
	if _, ok := of.(tuple); ok {
		return tuple(out)
	}
	return List(out)
}

// sliceIndices is Python's slice.indices, written out.
func (m *machine) sliceIndices(length int, from, to, step *int64) []int {
	by, n := int64(1), int64(length)
	if step != nil {
		by = *step
	}
	if by == 0 {
		m.fail("slice step cannot be zero")
	}
	first, last := int64(0), n
	if by < 0 {
		first, last = n-1, -1
	}
	clip := func(v int64) int64 {
		if v < 0 {
			v += n
			if v < 0 {
				return min(first, 0, last) // before the start: 0 forwards, -1 backwards
			}
		}
		return min(v, max(first, last))
	}
	begin, end := first, last
	if from != nil {
		begin = clip(*from)
	}
	if to != nil {
		end = clip(*to)
	}
	var out []int
	// The step may be as large as an integer gets: compare the distance, so that nothing overflows.
	for i := begin; by > 0 && i < end || by < 0 && i > end; i += by {
		if i >= 0 && i < n {
			out = append(out, int(i))
		}
		if by > 0 && by >= end-i || by < 0 && by <= end-i {
			break
		}
	}
	return out
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
		return function(func(m *machine, a args) Value {
			if len(a.positional) == 0 {
				m.fail("no items for cycling given")
			}
			return a.positional[l.at%len(a.positional)]
		}), true
	case "changed":
		return function(func(m *machine, a args) Value {
			now := List(a.positional)
			same := l.last != nil && m.equal(*l.last, now, 0)
			l.last = &now
			return !same
		}), true
	}
	return nil, false
}
