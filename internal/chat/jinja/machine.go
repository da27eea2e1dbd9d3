package jinja

import (
	"time"
)

// machine is one rendering.
type machine struct {
	budget
	now   time.Time
	out   *output // that is written to
	whole *output // of the template
	line  int     // of the node that is evaluated
	calls int

	captures  int // within one another
	generated []Span
}

// scope holds the variables of the template, of one turn of a loop, or of a macro call.
type scope struct {
	vars   map[string]Value
	parent *scope
}

func (s *scope) set(name string, v Value) {
	if s.vars == nil {
		s.vars = map[string]Value{}
	}
	s.vars[name] = v
}

// fail stops the rendering with what Jinja2 would have raised.
func (m *machine) fail(format string, args ...any) { fail(m.line, Runtime, format, args...) }

type control uint8

const (
	goOn control = iota
	breakNow
	continueNow
)

func (m *machine) run(body []statement, s *scope) control {
	for _, st := range body {
		m.work(1)
		switch st := st.(type) {
		case text:
			m.write(st.line, st.text)
		case print:
			m.line = st.line
			v := m.eval(st.value, s)
			m.line = st.line
			m.write(st.line, m.str(v))
		case ifElse:
			branch := st.otherwise
			if truth(m.eval(st.condition, s)) {
				branch = st.then
			}
			if c := m.run(branch, s); c != goOn {
				return c
			}
		case forLoop:
			m.runLoop(st, s)
		case set:
			m.line = st.line
			m.assignAll(st, m.eval(st.value, s), s)
		case setBlock:
			m.line = st.line
			m.assign(st.target, m.filtered(st.body, st.filters, s), s)
		case macroDefinition:
			s.set(st.name, &macro{st, s})
		case callBlock:
			m.callBlock(st, s)
		case filterBlock:
			m.line = st.line
			m.write(st.line, m.str(m.filtered(st.body, st.filters, s)))
		case with:
			inner := &scope{vars: map[string]Value{}, parent: s}
			m.built(scopeBytes)
			for i, t := range st.targets {
				inner.set(t.name, m.eval(st.values[i], s))
			}
			if c := m.run(st.body, inner); c != goOn {
				return c
			}
		case generation:
			m.generation(st, s)
		case breakLoop:
			return breakNow
		case continueLoop:
			return continueNow
		}
	}
	return goOn
}

// capturedName cannot be written in a template.
const capturedName = "\x00captured"

// filtered is the text that a body writes, as filters make it.
func (m *machine) filtered(body []statement, filters expression, s *scope) Value {
	line := m.line
	text := m.capture(func() { m.run(body, &scope{parent: s}) })
	m.line = line
	return m.eval(filters, &scope{vars: map[string]Value{capturedName: text}, parent: s})
}

// capture gives the text that f writes.
func (m *machine) capture(f func()) string {
	outer := m.out
	m.out = &output{}
	m.captures++
	f()
	m.captures--
	inner := m.out.text.String()
	m.out = outer
	return inner
}

// generation writes what an assistant has written, and notes where. Within a macro or a set block the place is where
// the text around has come to, since nobody knows yet where the block's will stand: transformers (AssistantTracker)
// counts so too, and what it learns is to be learned here.
func (m *machine) generation(g generation, s *scope) {
	place, before := m.whole.text.Len(), m.out.text.Len()
	m.built(scopeBytes)
	m.run(g.body, &scope{parent: s})
	m.generated = append(m.generated, Span{place, place + m.out.text.Len() - before})
}

// write adds to the output. What is captured is a value, and counted when it is written: captures nest, and each holds
// its text until it ends.
func (m *machine) write(line int, s string) {
	if m.captures > 0 {
		m.built(len(s))
	}
	m.out.write(line, s)
}

func (m *machine) assignAll(st set, v Value, s *scope) {
	if !st.unpack {
		m.assign(st.targets[0], v, s)
		return
	}
	for i, item := range m.unpack(v, len(st.targets)) {
		m.assign(st.targets[i], item, s)
	}
}

func (m *machine) unpack(v Value, n int) []Value {
	items := m.iterate(v)
	if len(items) != n {
		m.fail("%d values to unpack into %d names", len(items), n)
	}
	return items
}

func (m *machine) assign(t target, v Value, s *scope) {
	if t.attribute == "" {
		s.set(t.name, v)
		return
	}
	holder, _ := m.lookup(s, t.name)
	ns, ok := holder.(*namespace)
	if !ok {
		m.fail("cannot assign attribute on non-namespace object")
	}
	ns.vars[t.attribute] = v
}

func (m *machine) runLoop(st forLoop, s *scope) {
	m.line = st.line
	items := m.iterate(m.eval(st.over, s))
	bind := func(item Value) *scope {
		m.line = st.line
		m.built(scopeBytes)
		turn := &scope{vars: make(map[string]Value, len(st.targets)+1), parent: s}
		if !st.unpack {
			turn.vars[st.targets[0]] = item
			return turn
		}
		for i, part := range m.unpack(item, len(st.targets)) {
			turn.vars[st.targets[i]] = part
		}
		return turn
	}
	if st.condition != nil {
		var kept []Value
		for _, item := range items {
			m.work(1)
			if truth(m.eval(st.condition, bind(item))) {
				kept = append(kept, item)
				m.built(2 * valueBytes) // an append doubles
			}
		}
		items = kept
	}
	if len(items) == 0 {
		m.run(st.otherwise, &scope{parent: s})
		return
	}
	info := &loop{items: items}
	for i, item := range items {
		m.work(1)
		info.at = i
		turn := bind(item)
		turn.vars["loop"] = info
		if m.run(st.body, turn) == breakNow {
			return
		}
	}
}

// enter and leave bound macros that call macros, and filters that apply filters.
func (m *machine) enter() {
	if m.calls++; m.calls > maxCalls {
		fail(m.line, Limit, "calls nest more than %d deep", maxCalls)
	}
}

func (m *machine) leave() { m.calls-- }
