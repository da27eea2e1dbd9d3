package jinja

import "slices"

// batch makes lists of so many elements; the last gets fill_with for what it lacks, where that is given.
func batch(m *machine, v Value, a args) Value {
	n := int(min(a.takeInt(m, "batch", 0, "linecount", 0), maxRange))
	if n < 1 {
		m.fail("batch: linecount must be at least 1")
	}
	fill := a.take(1, "fill_with", nil)
	out := List{}
	for part := range slices.Chunk(m.iterate(v), n) {
		size := len(part)
		if fill != nil {
			size = n
		}
		m.work(1 + size)
		m.built(valueBytes * (size + 5))
		one := append(make(List, 0, size), part...)
		for len(one) < size {
			one = append(one, fill)
		}
		out = append(out, one)
	}
	return out
}

// sliced makes so many lists, of which the first are longer by one.
func sliced(m *machine, v Value, a args) Value {
	n := int(min(a.takeInt(m, "slice", 0, "slices", 0), maxRange))
	if n < 1 {
		m.fail("slice: slices must be at least 1")
	}
	fill := a.take(1, "fill_with", nil)
	items := m.iterate(v)
	each, longer := len(items)/n, len(items)%n
	out := List{}
	at := 0
	for i := range n {
		size := each
		if i < longer {
			size++
		}
		m.work(1)
		m.built(valueBytes * (size + 5))
		part := append(make(List, 0, size+1), items[at:at+size]...)
		if fill != nil && i >= longer {
			part = append(part, fill)
		}
		out, at = append(out, part), at+size
	}
	return out
}

// groupBy makes pairs of a value of an attribute and the elements that have it, in the order of the values.
func groupBy(m *machine, v Value, a args) Value {
	by, sensitive := a.take(0, "attribute", nil), a.take(2, "case_sensitive", false)
	fallback := a.take(1, "default", nil)
	key := sortKey(m, args{positional: []Value{sensitive}}, 0, 1)
	of := func(item Value) Value {
		found := m.path(item, by)
		if _, missing := found.(undefined); missing && fallback != nil {
			return fallback
		}
		return found
	}
	out := List{}
	var last Value
	for _, item := range sortedBy(m, m.iterate(v), func(item Value) Value { return key(of(item)) }, false) {
		m.work(1)
		m.built(8 * valueBytes)
		own := of(item)
		if folded := key(own); len(out) == 0 || !m.equal(last, folded, 0) {
			out, last = append(out, tuple{own, List{}}), folded
		}
		group := out[len(out)-1].(tuple)
		group[1] = append(group[1].(List), item)
	}
	return out
}
