package jinja

// budget is what one rendering has used of its limits. Whatever grows with what a template gives is counted: evaluated
// nodes and visited elements as steps, strings that are looked through as steps too, and new values by their bytes. A
// filter, test, method or function runs through apply alone, a dictionary is asked through member alone, and a list is
// walked by iterate, equal, less or repr, so that one that is added is bounded without a thought.
type budget struct{ steps, bytes int }

const (
	// readBytes of a string are looked through in the time of a step: the slowest functions take 5 ns a byte.
	readBytes   = 32
	valueBytes  = 16  // of a list's element
	memberBytes = 64  // of a dictionary's
	scopeBytes  = 256 // of a loop's turn or a macro's call, which a macro defined in it keeps
)

// work counts evaluated nodes and visited elements.
func (m *machine) work(n int) {
	if m.steps += n; m.steps > maxSteps {
		fail(m.line, Limit, "more than %d steps", maxSteps)
	}
}

// reads counts a string that is looked through.
func (m *machine) reads(s string) { m.work(len(s) / readBytes) }

// built counts the bytes of new values; it is called before a large one is made.
func (m *machine) built(n int) {
	if n > maxBytes-m.bytes {
		fail(m.line, Limit, "more than %d bytes of values", maxBytes)
	}
	m.bytes += n
}

// text counts a new string.
func (m *machine) text(s string) string {
	m.built(len(s))
	return s
}

// member is a dictionary's value. To find it is to look through the key.
func (m *machine) member(d *Dict, key Value) (Value, bool) {
	m.work(1)
	m.readsValue(key)
	h, can := hashed(key)
	v, ok := d.values[h]
	return v, ok && can
}

// lookup is a variable's value; scopes nest.
func (m *machine) lookup(s *scope, name string) (Value, bool) {
	for depth := 1; s != nil; s, depth = s.parent, depth+1 {
		if v, ok := s.vars[name]; ok {
			return v, true
		}
		if depth%4 == 0 {
			m.work(1)
		}
	}
	return nil, false
}

// builtin is a filter or test of a value, a method of it, or a function, for which of is nil. A test gives a bool.
type builtin func(m *machine, of Value, a args) Value

// table is where a built-in stands.
type table uint8

const (
	inFilters table = iota
	inTests
	inMethods // and global functions
)

// constant are the built-ins that look at the kind of what they are applied to, or at its ends, whatever its size, or
// count what they look at themselves. All others are taken to look through the whole of it.
var constant = [...]map[string]bool{
	inFilters: {
		"default": true, "d": true, "safe": true, "string": true, "length": true, "count": true, "first": true, "last": true, "trim": true,
	},
	inTests: {
		"defined": true, "undefined": true, "none": true, "boolean": true, "true": true, "false": true, "integer": true, "float": true,
		"number": true, "string": true, "mapping": true, "sequence": true, "iterable": true, "callable": true,
	},
	inMethods: {
		"strip": true, "lstrip": true, "rstrip": true,
		"startswith": true, "endswith": true, "removeprefix": true, "removesuffix": true,
	},
}

// apply runs a built-in: the only place where one is called. It counts the strings that it is given and that it gives.
func (m *machine) apply(in table, name string, f builtin, of Value, a args) Value {
	m.work(1)
	for i, v := range a.positional {
		a.positional[i] = plain(v)
		m.readsValue(a.positional[i])
	}
	for k, v := range a.named {
		a.named[k] = plain(v)
		m.readsValue(a.named[k])
	}
	_, marked := of.(markup)
	if !marked || in != inFilters || !takesMarkup[name] {
		of = plain(of)
	}
	if !constant[in][name] {
		m.readsValue(of)
	}
	out := f(m, of, a)
	if !constant[in][name] {
		m.readsValue(out)
	}
	if text, isText := out.(string); isText && marked && (in == inMethods || keepsMarkup[name]) {
		return markup(text)
	}
	return out
}

// Filters that look at the mark of a text that counts as escaped, and those whose result has it again.
var (
	takesMarkup = map[string]bool{"escape": true, "e": true, "default": true, "d": true}
	keepsMarkup = map[string]bool{"trim": true, "upper": true, "lower": true, "capitalize": true, "string": true, "center": true}
)

func (m *machine) readsValue(v Value) {
	if s, ok := plain(v).(string); ok {
		m.reads(s)
	}
}
