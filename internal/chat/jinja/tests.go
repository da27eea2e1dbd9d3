package jinja

import "unicode"

// tests by name.
var tests map[string]builtin

func init() {
	compare := func(op string) builtin {
		return func(m *machine, v Value, a args) Value {
			if len(a.positional) != 1 {
				m.fail("a comparison needs one argument")
			}
			return m.compare(op, v, a.positional[0])
		}
	}
	integer := func(m *machine, v Value, a args) (int64, bool) {
		n, _, isInt, ok := number(v)
		return n, ok && isInt
	}
	modulo := func(divisor, rest int64) builtin {
		return func(m *machine, v Value, a args) Value {
			n, ok := integer(m, v, a)
			if !ok {
				m.fail("not an integer: '%s'", typeName(v))
			}
			return m.integer("%", n, divisor) == rest
		}
	}
	sequenceLike := func(m *machine, v Value, a args) Value {
		switch v.(type) {
		case string, List, tuple, *Dict, undefined:
			return true
		}
		return false
	}
	is := func(kind func(Value) bool) builtin {
		return func(m *machine, v Value, a args) Value { return kind(v) }
	}
	tests = map[string]builtin{
		"defined":   is(func(v Value) bool { _, missing := v.(undefined); return !missing }),
		"undefined": is(func(v Value) bool { _, missing := v.(undefined); return missing }),
		"none":      is(func(v Value) bool { return v == nil }),
		"boolean":   is(func(v Value) bool { _, ok := v.(bool); return ok }),
		"true":      is(func(v Value) bool { b, ok := v.(bool); return ok && b }),
		"false":     is(func(v Value) bool { b, ok := v.(bool); return ok && !b }),
		"integer":   is(func(v Value) bool { _, ok := v.(int64); return ok }),
		"float":     is(func(v Value) bool { _, ok := v.(float64); return ok }),
		"number":    is(func(v Value) bool { _, _, _, ok := number(v); return ok }),
		"string":    is(func(v Value) bool { _, ok := v.(string); return ok }),
		"mapping":   is(func(v Value) bool { _, ok := v.(*Dict); return ok }),
		"sequence":  sequenceLike,
		"iterable":  sequenceLike,
		"callable": is(func(v Value) bool {
			switch v.(type) {
			case function, *macro:
				return true
			}
			return false
		}),
		"filter": func(m *machine, v Value, a args) Value { return filters[m.str(v)] != nil },
		"test":   func(m *machine, v Value, a args) Value { return tests[m.str(v)] != nil },
		"odd":    modulo(2, 1),
		"even":   modulo(2, 0),
		"divisibleby": func(m *machine, v Value, a args) Value {
			return modulo(a.takeInt(m, "divisibleby", 0, "num", 0), 0)(m, v, a)
		},
		"upper": func(m *machine, v Value, a args) Value {
			return oneCase(m.str(v), unicode.ToUpper, unicode.ToLower)
		},
		"lower": func(m *machine, v Value, a args) Value {
			return oneCase(m.str(v), unicode.ToLower, unicode.ToUpper)
		},
		"in": func(m *machine, v Value, a args) Value {
			return m.contains(a.take(0, "seq", undefined{}), v)
		},
		"sameas": func(m *machine, v Value, a args) Value {
			other := a.take(0, "other", undefined{})
			switch v.(type) {
			case nil, bool, int64, string:
				return typeName(v) == typeName(other) && m.equal(v, other, 0)
			}
			fail(m.line, Unsupported, "the test sameas of a '%s'", typeName(v))
			return false
		},
		"eq": compare("=="), "equalto": compare("=="),
		"ne": compare("!="),
		"lt": compare("<"), "lessthan": compare("<"),
		"le": compare("<="),
		"gt": compare(">"), "greaterthan": compare(">"),
		"ge": compare(">="),
	}
}
