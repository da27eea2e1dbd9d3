package jinja

// call runs a macro; its text is its value.
func (f *macro) call(m *machine, a args) Value {
	m.enter()
	defer m.leave()
	m.work(len(f.params))
	m.built(scopeBytes)
	s := &scope{vars: map[string]Value{}, parent: f.scope}
	for i, p := range f.params {
		given, named := a.named[p]
		switch d := i - (len(f.params) - len(f.defaults)); {
		case i < len(a.positional) && named:
			m.fail("macro '%s' got two values for '%s'", f.name, p)
		case i < len(a.positional):
			s.vars[p] = a.positional[i]
		case named:
			s.vars[p] = given
		case d >= 0:
			s.vars[p] = m.eval(f.defaults[d], s)
		default:
			s.vars[p] = undefined{p}
		}
		delete(a.named, p)
	}
	f.beside(m, a, s)
	return m.capture(func() { m.run(f.body, s) })
}

// beside gives the body what a call has beside the parameters, as far as it mentions that.
func (f *macro) beside(m *machine, a args, s *scope) {
	rest := a.positional[min(len(f.params), len(a.positional)):]
	switch {
	case f.takes.positional:
		s.vars[positionalName] = tuple(rest)
	case len(rest) > 0:
		m.fail("macro '%s' takes not more than %d argument(s)", f.name, len(f.params))
	}
	if f.takes.caller {
		s.vars[callerName] = undefined{"caller"}
		if caller, given := a.named[callerName]; given {
			s.vars[callerName] = caller
			delete(a.named, callerName)
		}
	}
	named := &Dict{}
	for _, k := range a.order {
		if v, left := a.named[k]; left {
			if !f.takes.named {
				m.fail("macro '%s' takes no keyword argument '%s'", f.name, k)
			}
			named.Set(k, v)
		}
	}
	if f.takes.named {
		s.vars[namedName] = named
	}
}

// callBlock calls what it names with its body as a further argument, and writes what that gives.
func (m *machine) callBlock(b callBlock, s *scope) {
	of := m.eval(b.call.of, s)
	a := m.arguments(b.call.arguments, s, b.line)
	m.line = b.line
	if _, twice := a.named[callerName]; twice {
		m.fail("got multiple values for keyword argument '%s'", callerName)
	}
	if a.named == nil {
		a.named = map[string]Value{}
	}
	a.named[callerName], a.order = &macro{b.caller, s}, append(a.order, callerName)
	m.write(b.line, m.str(m.call(of, a, b.line)))
}
