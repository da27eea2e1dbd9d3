package jinja

import (
	"encoding/json/jsontext"
	"fmt"
	"iter"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Value is nil, bool, int64, float64, string, [List] or *[Dict]; and, inside of a template, what follows below.
type Value any

// List is a Python list. Templates cannot change it.
type List []Value

// Dict is a Python dict in the order of insertion, with strings, numbers, truth values and nil for keys.
type Dict struct {
	keys   []Value
	values map[any]Value // by hashed keys
}

// Set adds or replaces a key.
func (d *Dict) Set(key string, v Value) { d.set(key, v) }

// All are the members whose keys are strings.
func (d *Dict) All() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		for _, key := range d.keys {
			if name, ok := key.(string); ok && !yield(name, d.values[name]) {
				return
			}
		}
	}
}

func (d *Dict) set(key, v Value) {
	if d.values == nil {
		d.values = map[any]Value{}
	}
	h, _ := hashed(key)
	if _, ok := d.values[h]; !ok {
		d.keys = append(d.keys, key)
	}
	d.values[h] = v
}

// hashed is the same for keys that are equal in Python: 1, 1.0 and true; false for what is no key here.
func hashed(key Value) (any, bool) {
	switch k := plain(key).(type) {
	case nil, string, int64:
		return k, true
	case bool:
		n, _, _, _ := number(k)
		return n, true
	case float64:
		if n := int64(k); float64(n) == k {
			return n, true
		}
		return k, true
	}
	return nil, false
}

type (
	undefined struct{ name string }
	tuple     []Value
	namespace struct{ vars map[string]Value }
	// function is a global function, or a method of a value.
	function struct {
		name string
		of   Value // whose method it is; nil of a global function
		run  builtin
	}
	macro struct {
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
	case markup:
		return "Markup"
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
	case markup:
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
	switch v := plain(v).(type) {
	case undefined:
		return nil
	case *Dict:
		m.work(len(v.keys))
		m.built(2 * valueBytes * len(v.keys))
		return slices.Clone(v.keys)
	case string:
		m.work(len(v))
		m.built(2 * valueBytes * len(v))
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
	switch v := plain(v).(type) {
	case undefined:
		return 0
	case string:
		m.reads(v)
		return utf8.RuneCountInString(v)
	case *Dict:
		return len(v.keys)
	}
	m.fail("object of type '%s' has no len()", typeName(v))
	return 0
}
