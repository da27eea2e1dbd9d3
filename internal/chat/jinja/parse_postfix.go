package jinja

import (
	"fmt"
	"slices"
	"strconv"
)

// maxChain bounds .a.b.c, |f|g and calls in a row: each nests those before it.
const maxChain = 60

func (p *parser) postfix(value expression) expression {
	for range maxChain {
		t := p.peek()
		if t.kind != operator {
			return value
		}
		switch t.text {
		case ".":
			p.next()
			key := p.next()
			switch key.kind {
			case nameToken:
				value = index{value, literal{key.text}, true, t.line}
			case intToken:
				n, _ := strconv.ParseInt(key.text, 10, 64)
				value = index{value, literal{n}, false, t.line}
			default:
				fail(key.line, Syntax, "expected a name after the dot, found %v", key)
			}
		case "[":
			p.next()
			value = p.subscript(value, t.line)
		case "(":
			p.next()
			value = call{value, p.arguments(), t.line}
		default:
			return value
		}
		value = p.chained(value)
	}
	fail(p.peek().line, Limit, "more than %d attributes and calls in a row", maxChain)
	return nil
}

func (p *parser) subscript(of expression, line int) expression {
	var bounds [3]expression
	colons := 0
	for !p.accept(operator, "]") {
		switch {
		case p.accept(operator, ":"):
			if colons++; colons > 2 {
				fail(line, Syntax, "a slice has at most two colons")
			}
		case p.is(operator, ","):
			fail(line, Unsupported, "a subscript with several parts")
		case bounds[colons] != nil:
			p.expect(operator, "]")
		default:
			bounds[colons] = p.expression()
		}
	}
	if colons > 0 {
		return slice{of, bounds[0], bounds[1], bounds[2], line}
	}
	if bounds[0] == nil {
		fail(line, Syntax, "a subscript is empty")
	}
	return index{of, bounds[0], false, line}
}

// arguments reads what follows an opening parenthesis.
func (p *parser) arguments() (a arguments) {
	for count := 0; !p.accept(operator, ")"); count++ {
		if count > 0 {
			p.expect(operator, ",")
			if p.accept(operator, ")") {
				break
			}
		}
		t := p.peek()
		if spread := map[string]*expression{"*": &a.list, "**": &a.dict}[t.text]; spread != nil && t.kind == operator {
			p.next()
			if *spread != nil || a.dict != nil {
				fail(t.line, Syntax, "an argument with %s behind another one, or behind one with **", t.text)
			}
			*spread = p.expression()
			continue
		}
		if t.kind == nameToken && p.tokens[p.at+1].kind == operator && p.tokens[p.at+1].text == "=" {
			p.next()
			p.next()
			a.names = append(a.names, t.text)
			a.named = append(a.named, p.expression())
			continue
		}
		if len(a.names) > 0 || a.list != nil || a.dict != nil {
			fail(t.line, Syntax, "a positional argument after a keyword argument")
		}
		a.positional = append(a.positional, p.expression())
	}
	return a
}

func (p *parser) filters(value expression) expression {
	for range maxChain {
		switch {
		case p.is(operator, "|"):
			value = p.filter(value)
		case p.is(nameToken, "is"):
			value = p.test(value)
		case p.is(operator, "("):
			line := p.next().line
			value = call{value, p.arguments(), line}
		default:
			return value
		}
		value = p.chained(value)
	}
	fail(p.peek().line, Limit, "more than %d filters in a row", maxChain)
	return nil
}

func (p *parser) filter(of expression) expression {
	return p.namedFilter(of, p.expect(operator, "|").line)
}

// refuse notes what is not there; where a branch may leave it out, it fails when it is reached.
func (p *parser) refuse(line int, what, name string) {
	if p.conditions == 0 {
		p.unknown = append(p.unknown, &Error{line, Unsupported, fmt.Sprintf(what, name)})
	}
}

// namedFilter reads a filter's name and its arguments.
func (p *parser) namedFilter(of expression, line int) expression {
	f := filter{of: of, name: p.name(), line: line}
	if filters[f.name] == nil {
		p.refuse(line, "the filter %q", f.name)
	}
	if p.accept(operator, "(") {
		f.arguments = p.arguments()
	}
	return f
}

func (p *parser) test(of expression) expression {
	line := p.expect(nameToken, "is").line
	negate := p.accept(nameToken, "not")
	t := test{of: of, name: p.name(), line: line}
	if tests[t.name] == nil {
		p.refuse(line, "the test %q", t.name)
	}
	next := p.peek()
	switch {
	case p.accept(operator, "("):
		t.arguments = p.arguments()
	case next.kind == nameToken && !slices.Contains([]string{"else", "or", "and", "is", "if", "in", "not"}, next.text),
		next.kind == stringToken, next.kind == intToken, next.kind == floatToken,
		next.kind == operator && (next.text == "[" || next.text == "{"):
		t.positional = []expression{p.postfix(p.primary())}
	}
	if negate {
		return unary{"not", t, line}
	}
	return t
}
