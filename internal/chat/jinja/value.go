package jinja

import (
	"encoding/json/jsontext"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Value is nil, bool, int64, float64, string, [List] or *[Dict]; and, inside of a template, what follows below.
type Value any

// List is a Python list. Templates cannot change it.
type List []Value

// Dict is a Python dict with strings for keys, in the order of insertion.
type Dict struct {
	keys   []string
	values map[string]Value
}

// Set adds or replaces a key.
func (d *Dict) Set(key string, v Value) {
	if d.values == nil {
		d.values = map[string]Value{}
	}
	if _, ok := d.values[key]; !ok {
		d.keys = append(d.keys, key)
	}
	d.values[key] = v
}

type (
	undefined struct{ name string }
	tuple     []Value
	namespace struct{ vars map[string]Value }
	function  func(m *machine, a args) Value
	macro     struct {
		macroDefinition
		scope *scope
	}
	// loop is the variable of that name inside of a for loop.
	loop struct {
		items []Value
		at    int
		last  *List // arguments of the previous loop.changed
	}
)

// FromJSON reads a JSON value, the order of an object's members kept.
func FromJSON(data jsontext.Value) (Value, error) {
	dec := jsontext.NewDecoder(strings.NewReader(string(data)))
	v, err := readJSON(dec)
	if err != nil {
		return nil, err
	}
	if _, err := dec.ReadToken(); err == nil {
		return nil, fmt.Errorf("a second JSON value at offset %d", dec.InputOffset())
	}
	return v, nil
}

func readJSON(dec *jsontext.Decoder) (Value, error) {
	t, err := dec.ReadToken()
	if err != nil {
		return nil, err
	}
	if dec.StackDepth() > maxDepth {
		return nil, fmt.Errorf("JSON nested deeper than %d levels", maxDepth)
	}
	switch t.Kind() {
	case 't', 'f':
		return t.Bool(), nil
	case '"':
		return t.String(), nil
	case '0':
		if n, err := strconv.ParseInt(t.String(), 10, 64); err == nil {
			return n, nil
		}
		if !strings.ContainsAny(t.String(), ".eE") {
			return nil, fmt.Errorf("the number %.40s has more than 64 bits", t.String())
		}
		x, err := strconv.ParseFloat(t.String(), 64)
		return x, err
	case '[':
		items := List{}
		for dec.PeekKind() != ']' {
			v, err := readJSON(dec)
			if err != nil {
				return nil, err
			}
			items = append(items, v)
		}
		_, err = dec.ReadToken()
		return items, err
	case '{':
		d := &Dict{}
		for dec.PeekKind() != '}' {
			key, err := dec.ReadToken()
			if err != nil {
				return nil, err
			}
			name := key.String()
			v, err := readJSON(dec)
			if err != nil {
				return nil, err
			}
			d.Set(name, v)
		}
		_, err = dec.ReadToken()
		return d, err
	}
	return nil, nil
}

// maxDepth is how deep lists and dictionaries that are compared, printed or written as JSON may nest.
const maxDepth = 100

func typeName(v Value) string {
	switch v := v.(type) {
	case nil:
		return "NoneType"
	case bool:
		return "bool"
	case int64:
		return "int"
	case float64:
		return "float"
	case string:
		return "str"
	case List:
		return "list"
	case tuple:
		return "tuple"
	case *Dict:
		return "dict"
	case undefined:
		return "Undefined"
	case *namespace:
		return "Namespace"
	case *macro, function:
		return "function"
	case *loop:
		return "LoopContext"
	default:
		return fmt.Sprintf("%T", v)
	}
}

func truth(v Value) bool {
	switch v := v.(type) {
	case nil, undefined:
		return false
	case bool:
		return v
	case int64:
		return v != 0
	case float64:
		return v != 0
	case string:
		return v != ""
	case List:
		return len(v) > 0
	case tuple:
		return len(v) > 0
	case *Dict:
		return len(v.keys) > 0
	}
	return true
}

// number gives int64 and bool as integers, as Python's arithmetic does.
func number(v Value) (n int64, x float64, isInt, ok bool) {
	switch v := v.(type) {
	case bool:
		if v {
			return 1, 1, true, true
		}
		return 0, 0, true, true
	case int64:
		return v, float64(v), true, true
	case float64:
		return 0, v, false, true
	}
	return 0, 0, false, false
}

// sequence gives the elements of a list or tuple.
func sequence(v Value) ([]Value, bool) {
	switch v := v.(type) {
	case List:
		return v, true
	case tuple:
		return v, true
	}
	return nil, false
}

// iterate gives what a for loop runs over: elements, keys, characters; nothing for an undefined value.
func (m *machine) iterate(v Value) []Value {
	if items, ok := sequence(v); ok {
		m.work(len(items))
		return items
	}
	switch v := v.(type) {
	case undefined:
		return nil
	case *Dict:
		m.work(len(v.keys))
		items := make([]Value, len(v.keys))
		for i, k := range v.keys {
			items[i] = k
		}
		m.built(16 * len(items))
		return items
	case string:
		m.work(len(v))
		m.built(16 * len(v))
		items := make([]Value, 0, len(v))
		for len(v) > 0 {
			_, n := utf8.DecodeRuneInString(v)
			items = append(items, v[:n])
			v = v[n:]
		}
		return items
	}
	m.fail("'%s' object is not iterable", typeName(v))
	return nil
}

func (m *machine) length(v Value) int {
	if items, ok := sequence(v); ok {
		return len(items)
	}
	switch v := v.(type) {
	case undefined:
		return 0
	case string:
		m.work(len(v) / 64)
		return utf8.RuneCountInString(v)
	case *Dict:
		return len(v.keys)
	}
	m.fail("object of type '%s' has no len()", typeName(v))
	return 0
}

// equal is Python's ==. depth bounds the nesting.
func (m *machine) equal(a, b Value, depth int) bool {
	m.work(1)
	m.checkDepth(depth)
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
		m.work(len(s) / 64)
		return ok && a == s
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
			other, ok := b.values[k]
			if !ok || !m.equal(a.values[k], other, depth+1) {
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
			m.work(min(len(s), len(t)) / 64)
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

// str is Python's str.
func (m *machine) str(v Value) string {
	switch v := v.(type) {
	case string:
		return v
	case undefined:
		return ""
	}
	var out strings.Builder
	m.repr(&out, v, 0)
	return out.String()
}

// repr is Python's repr.
func (m *machine) repr(out *strings.Builder, v Value, depth int) {
	m.work(1)
	m.checkDepth(depth)
	start := out.Len()
	switch v := v.(type) {
	case nil:
		out.WriteString("None")
	case bool:
		out.WriteString(map[bool]string{true: "True", false: "False"}[v])
	case int64:
		out.WriteString(strconv.FormatInt(v, 10))
	case float64:
		out.WriteString(floatText(v))
	case string:
		writeQuoted(out, v)
	case undefined:
		out.WriteString("Undefined")
	case List:
		out.WriteString("[")
		for i, item := range v {
			m.separate(out, i)
			m.repr(out, item, depth+1)
		}
		out.WriteString("]")
	case tuple:
		out.WriteString("(")
		for i, item := range v {
			m.separate(out, i)
			m.repr(out, item, depth+1)
		}
		if len(v) == 1 {
			out.WriteString(",")
		}
		out.WriteString(")")
	case *Dict:
		out.WriteString("{")
		for i, k := range v.keys {
			m.separate(out, i)
			writeQuoted(out, k)
			out.WriteString(": ")
			m.repr(out, v.values[k], depth+1)
		}
		out.WriteString("}")
	default:
		fail(m.line, Unsupported, "the text of a %s", typeName(v))
	}
	m.built(out.Len() - start)
}

func (m *machine) separate(out *strings.Builder, i int) {
	if i > 0 {
		out.WriteString(", ")
	}
}

// writeQuoted is Python's repr of a string.
func writeQuoted(out *strings.Builder, s string) {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	out.WriteByte(quote)
	for _, r := range s {
		switch {
		case r == rune(quote) || r == '\\':
			out.WriteByte('\\')
			out.WriteRune(r)
		case r == '\n':
			out.WriteString(`\n`)
		case r == '\r':
			out.WriteString(`\r`)
		case r == '\t':
			out.WriteString(`\t`)
		case r == ' ' || strconv.IsPrint(r):
			out.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(out, `\x%02x`, r)
		case r < 0x10000:
			fmt.Fprintf(out, `\u%04x`, r)
		default:
			fmt.Fprintf(out, `\U%08x`, r)
		}
	}
	out.WriteByte(quote)
}

// floatText is Python's repr of a float: the shortest digits, an exponent below 1e-4 and from 1e16 on.
func floatText(x float64) string {
	if math.IsInf(x, 0) {
		return map[bool]string{true: "inf", false: "-inf"}[x > 0]
	}
	if math.IsNaN(x) {
		return "nan"
	}
	if abs := math.Abs(x); abs != 0 && (abs < 1e-4 || abs >= 1e16) {
		return strconv.FormatFloat(x, 'e', -1, 64)
	}
	s := strconv.FormatFloat(x, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
