package jinja

import "slices"

type parser struct {
	tokens []token
	at     int
	nest   int
	nodes  int
	loops  int // enclosing for loops

	conditions int      // enclosing branches
	unknown    []*Error // filters and tests that are not there, outside of branches: in one they fail when it is reached
	mentioned  map[string]int
	marked     bool // there is a generation tag
}

func (p *parser) peek() token { return p.tokens[p.at] }

func (p *parser) next() token {
	t := p.tokens[p.at]
	if t.kind != endOfFile {
		p.at++
	}
	return t
}

func (p *parser) is(k kind, text string) bool {
	t := p.peek()
	return t.kind == k && t.text == text
}

func (p *parser) accept(k kind, text string) bool {
	if p.is(k, text) {
		p.at++
		return true
	}
	return false
}

func (p *parser) expect(k kind, text string) token {
	if !p.is(k, text) {
		fail(p.peek().line, Syntax, "expected %q, found %v", text, p.peek())
	}
	return p.next()
}

func (p *parser) name() string {
	if t := p.peek(); t.kind != nameToken {
		fail(t.line, Syntax, "expected a name, found %v", t)
	}
	return p.next().text
}

// assignable is a name that a template may set.
func (p *parser) assignable() string {
	line, n := p.peek().line, p.name()
	switch n {
	case "true", "false", "none", "True", "False", "None", "loop":
		fail(line, Syntax, "%q cannot be assigned to", n)
	}
	return n
}

// deeper bounds the recursion of the parser, and with it that of the rendering.
func (p *parser) deeper() func() {
	p.nest++
	p.nodes++
	if p.nest > maxNest {
		fail(p.peek().line, Limit, "nested deeper than %d levels", maxNest)
	}
	if p.nodes > maxNodes {
		fail(p.peek().line, Limit, "more than %d nodes", maxNodes)
	}
	return func() { p.nest-- }
}

// body reads statements up to one of the tags in ends, whose name is left to be read; up to the end of the template for
// nil.
func (p *parser) body(ends []string) (body []statement) {
	defer p.deeper()()
	start := p.peek().line
	for {
		switch t := p.next(); t.kind {
		case endOfFile:
			if ends != nil {
				fail(start, Syntax, "the block that starts here has no %q", ends[len(ends)-1])
			}
			return body
		case textToken:
			body = append(body, text{t.text, t.line})
		case beginVariable:
			body = append(body, print{p.tuple(), t.line})
			if p.peek().kind != endVariable {
				fail(p.peek().line, Syntax, `expected "}}", found %v`, p.peek())
			}
			p.next()
		case beginBlock:
			if tag := p.peek(); tag.kind == nameToken && slices.Contains(ends, tag.text) {
				return body
			}
			if s := p.statement(); s != nil {
				body = append(body, s)
			}
		}
	}
}

func (p *parser) endBlock() {
	if p.peek().kind != endBlock {
		fail(p.peek().line, Syntax, `expected "%%}", found %v`, p.peek())
	}
	p.next()
}

// block reads a body and its end tag, which has no arguments.
func (p *parser) block(end string) []statement {
	body := p.body([]string{end})
	p.name()
	p.endBlock()
	return body
}

func (p *parser) statement() statement {
	line, tag := p.peek().line, p.name()
	switch tag {
	case "if":
		return p.ifElse()
	case "for":
		return p.forLoop(line)
	case "set":
		return p.set(line)
	case "macro":
		return p.macro(line)
	case "generation":
		p.endBlock()
		p.marked = true
		return generation{p.captured("endgeneration")}
	case "call":
		return p.callBlock(line)
	case "filter":
		return p.filterBlock(line)
	case "with":
		return p.with()
	case "break", "continue":
		if p.loops == 0 {
			fail(line, Syntax, "%q outside of a loop", tag)
		}
		p.endBlock()
		if tag == "break" {
			return breakLoop{}
		}
		return continueLoop{}
	case "include", "import", "from", "extends", "block", "do", "autoescape", "trans", "debug":
		fail(line, Unsupported, "the tag %q", tag)
	}
	fail(line, Syntax, "unknown tag %q", tag)
	return nil
}

func (p *parser) ifElse() statement {
	p.conditions++
	defer func() { p.conditions-- }()
	condition := p.tuple()
	p.endBlock()
	s := ifElse{condition: condition, then: p.body([]string{"elif", "else", "endif"})}
	switch p.name() {
	case "elif":
		// A long chain of elif nests as deep.
		defer p.deeper()()
		s.otherwise = []statement{p.ifElse()}
		return s
	case "else":
		p.endBlock()
		s.otherwise = p.body([]string{"endif"})
		p.name()
	}
	p.endBlock()
	return s
}

func (p *parser) forLoop(line int) statement {
	s := forLoop{line: line}
	s.targets, s.unpack = p.targets()
	p.expect(nameToken, "in")
	s.over = p.tupleOf(p.orExpression)
	if p.accept(nameToken, "if") {
		s.condition = p.expression()
	}
	if p.is(nameToken, "recursive") {
		fail(line, Unsupported, "a recursive loop")
	}
	p.endBlock()
	p.loops++
	s.body = p.body([]string{"else", "endfor"})
	p.loops--
	if p.name() == "else" {
		p.endBlock()
		s.otherwise = p.body([]string{"endfor"})
		p.name()
	}
	p.endBlock()
	return s
}

// targets reads "a" or "a, b" or "(a, b)".
func (p *parser) targets() (names []string, unpack bool) {
	parenthesis := p.accept(operator, "(")
	names = []string{p.assignable()}
	for p.accept(operator, ",") {
		unpack = true
		if p.peek().kind != nameToken || p.is(nameToken, "in") {
			break
		}
		names = append(names, p.assignable())
	}
	if parenthesis {
		p.expect(operator, ")")
	}
	return names, unpack
}

func (p *parser) set(line int) statement {
	var targets []target
	unpack := false
	for {
		t := target{name: p.assignable()}
		if p.accept(operator, ".") {
			t.attribute = p.name()
		}
		targets = append(targets, t)
		if !p.accept(operator, ",") {
			break
		}
		unpack = true
	}
	if p.accept(operator, "=") {
		s := set{targets, unpack, p.tuple(), line}
		p.endBlock()
		return s
	}
	if unpack {
		fail(line, Syntax, `expected "=", found %v`, p.peek())
	}
	s := setBlock{target: targets[0], filters: captured{}, line: line}
	for p.is(operator, "|") {
		s.filters = p.filter(s.filters)
	}
	p.endBlock()
	s.body = p.captured("endset")
	return s
}
