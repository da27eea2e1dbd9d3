package jinja

// Names under which a macro's body finds what a call gives beside the parameters.
const (
	callerName     = "caller"
	positionalName = "varargs"
	namedName      = "kwargs"
)

func (p *parser) macro(line int) statement {
	m := macroDefinition{name: p.assignable(), line: line}
	p.expect(operator, "(")
	p.parameters(&m)
	p.endBlock()
	p.macroBody(&m, "endmacro")
	return m
}

// parameters reads what follows an opening parenthesis.
func (p *parser) parameters(m *macroDefinition) {
	for !p.accept(operator, ")") {
		if len(m.params) > 0 {
			p.expect(operator, ",")
		}
		m.params = append(m.params, p.assignable())
		if p.accept(operator, "=") {
			m.defaults = append(m.defaults, p.expression())
		} else if len(m.defaults) > 0 {
			fail(m.line, Syntax, "a parameter without default after one with default")
		}
	}
}

// macroBody reads a body, and finds out what it mentions: a macro takes nothing else beside its parameters.
func (p *parser) macroBody(m *macroDefinition, end string) {
	before := [...]int{p.mentioned[callerName], p.mentioned[positionalName], p.mentioned[namedName]}
	m.body = p.captured(end)
	m.takes = extras{
		p.mentioned[callerName] > before[0], p.mentioned[positionalName] > before[1], p.mentioned[namedName] > before[2],
	}
}

func (p *parser) callBlock(line int) statement {
	b := callBlock{caller: macroDefinition{name: callerName, line: line}, line: line}
	if p.accept(operator, "(") {
		p.parameters(&b.caller)
	}
	c, isCall := p.expression().(call)
	if !isCall {
		fail(line, Syntax, `expected a call after "call"`)
	}
	p.endBlock()
	b.call = c
	p.macroBody(&b.caller, "endcall")
	return b
}

func (p *parser) filterBlock(line int) statement {
	b := filterBlock{filters: p.namedFilter(captured{}, line), line: line}
	for p.is(operator, "|") {
		b.filters = p.filter(b.filters)
	}
	p.endBlock()
	b.body = p.captured("endfilter")
	return b
}

func (p *parser) with() statement {
	var w with
	for p.peek().kind != endBlock {
		if len(w.targets) > 0 {
			p.expect(operator, ",")
		}
		w.targets = append(w.targets, target{name: p.assignable()})
		p.expect(operator, "=")
		w.values = append(w.values, p.expression())
	}
	p.endBlock()
	w.body = p.block("endwith")
	return w
}

// captured is a block that a break or continue inside of it cannot leave.
func (p *parser) captured(end string) []statement {
	loops := p.loops
	p.loops = 0
	body := p.block(end)
	p.loops = loops
	return body
}
