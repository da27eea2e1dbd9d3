package jinja

import (
	"slices"
	"strings"
	"unicode/utf8"
)

func sum(m *machine, v Value, a args) Value {
	attribute, total := a.take(0, "attribute", nil), a.take(1, "start", int64(0))
	for _, item := range m.iterate(v) {
		if attribute != nil {
			item = m.path(item, attribute)
		}
		total = m.arithmetic("+", total, item)
	}
	return total
}

func extreme(m *machine, v Value, a args, sign int) Value {
	all := m.iterate(v)
	if len(all) == 0 {
		return undefined{"the extreme of an empty sequence"}
	}
	key := sortKey(m, a, 0, 1)
	best := all[0]
	bestKey := key(best)
	for _, item := range all[1:] {
		if k := key(item); m.order(k, bestKey)*sign > 0 {
			best, bestKey = item, k
		}
	}
	return best
}

func (m *machine) order(a, b Value) int {
	if m.less(a, b, 0) {
		return -1
	}
	if m.less(b, a, 0) {
		return 1
	}
	return 0
}

// sortKey is by attribute, and without case_sensitive in lower case.
func sortKey(m *machine, a args, casePosition, attributePosition int) func(Value) Value {
	sensitive := truth(a.take(casePosition, "case_sensitive", false))
	attribute := a.take(attributePosition, "attribute", nil)
	return func(v Value) Value {
		if attribute != nil {
			v = m.path(v, attribute)
		}
		if s, ok := plain(v).(string); ok && !sensitive {
			m.reads(s)
			return m.text(strings.ToLower(s))
		}
		return v
	}
}

func sortedBy(m *machine, all []Value, key func(Value) Value, reverse bool) List {
	type keyed struct{ key, value Value }
	m.built(3 * valueBytes * len(all))
	order := make([]keyed, len(all))
	for i, v := range all {
		order[i] = keyed{key(v), v}
	}
	slices.SortStableFunc(order, func(a, b keyed) int {
		if reverse {
			a, b = b, a
		}
		return m.order(a.key, b.key)
	})
	out := make(List, len(all))
	for i, o := range order {
		out[i] = o.value
	}
	return out
}

func sorted(m *machine, v Value, a args) Value {
	return sortedBy(m, m.iterate(v), sortKey(m, a, 1, 2), truth(a.take(0, "reverse", false)))
}

func dictSort(m *machine, v Value, a args) Value {
	d, ok := v.(*Dict)
	if !ok {
		m.fail("dictsort of a '%s'", typeName(v))
	}
	position := 0
	if a.takeString(m, "dictsort", 1, "by", "key") == "value" {
		position = 1
	}
	lower := sortKey(m, a, 0, 3)
	return sortedBy(m, m.items(d), func(v Value) Value { return lower(v.(tuple)[position]) }, truth(a.take(2, "reverse", false)))
}

func unique(m *machine, v Value, a args) Value {
	key := sortKey(m, a, 0, 1)
	var keys []Value
	out := List{}
	for _, item := range m.iterate(v) {
		k := key(item)
		if !slices.ContainsFunc(keys, func(seen Value) bool { return m.equal(seen, k, 0) }) {
			m.built(4 * valueBytes) // appends double
			keys, out = append(keys, k), append(out, item)
		}
	}
	return out
}

func reversed(m *machine, v Value, a args) Value {
	if s, ok := v.(string); ok {
		m.built(len(s))
		out := make([]byte, 0, len(s))
		for len(s) > 0 {
			_, n := utf8.DecodeLastRuneInString(s)
			out = append(out, s[len(s)-n:]...)
			s = s[:len(s)-n]
		}
		return string(out)
	}
	all := m.iterate(v)
	m.built(valueBytes * len(all))
	out := slices.Clone(all)
	slices.Reverse(out)
	return List(out)
}

func items(m *machine, v Value, a args) Value {
	switch v := v.(type) {
	case undefined:
		return List{}
	case *Dict:
		return m.items(v)
	}
	m.fail("can only get item pairs from a mapping")
	return nil
}

// mapped applies an attribute or a filter to every element.
func mapped(m *machine, v Value, a args) Value {
	var apply func(Value) Value
	if attribute, ok := a.named["attribute"]; ok && len(a.positional) == 0 {
		missing, hasDefault := a.named["default"]
		apply = func(item Value) Value {
			out := m.path(item, attribute)
			if _, absent := out.(undefined); absent && hasDefault {
				return missing
			}
			return out
		}
	} else {
		name := a.takeString(m, "map", 0, "filter", "")
		f := filters[name]
		if f == nil {
			fail(m.line, Unsupported, "the filter %q", name)
		}
		rest := args{a.positional[min(1, len(a.positional)):], a.named, a.order}
		m.enter()
		defer m.leave()
		apply = func(item Value) Value { return m.apply(inFilters, name, f, item, rest) }
	}
	out := List{}
	if !truth(v) {
		return out
	}
	for _, item := range m.iterate(v) {
		m.work(1)
		m.built(2 * valueBytes) // an append doubles
		out = append(out, apply(item))
	}
	return out
}

// selected keeps the elements for which a test holds, or that are true; byAttribute tests a part of each.
func selected(m *machine, v Value, a args, byAttribute, keep bool) Value {
	rest := a.positional
	var attribute Value
	if byAttribute {
		if len(rest) == 0 {
			m.fail("the attribute is missing")
		}
		attribute, rest = rest[0], rest[1:]
	}
	holds := truth
	if len(rest) > 0 {
		name, _ := rest[0].(string)
		test := tests[name]
		if test == nil {
			fail(m.line, Unsupported, "the test %q", m.str(rest[0]))
		}
		given := args{rest[1:], a.named, a.order}
		holds = func(v Value) bool { return truth(m.apply(inTests, name, test, v, given)) }
	}
	out := List{}
	if !truth(v) {
		return out
	}
	for _, item := range m.iterate(v) {
		m.work(1)
		part := item
		if byAttribute {
			part = m.path(item, attribute)
		}
		if holds(part) == keep {
			m.built(2 * valueBytes)
			out = append(out, item)
		}
	}
	return out
}
