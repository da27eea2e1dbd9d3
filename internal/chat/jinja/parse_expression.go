package jinja

import (
	"slices"
	"strconv"
	"strings"
)

func (p *parser) expression() expression {
	defer p.deeper()()
	value := p.orExpression()
	for p.accept(nameToken, "if") {
		condition := p.orExpression()
		c := conditional{condition: condition, then: value}
		if p.accept(nameToken, "else") {
			c.otherwise = p.expression()
		}
		p.nodes++
		value = p.chained(c)
	}
	return value
}

// chained counts one more operator of a chain, whose tree leans to the left and is walked recursively.
func (p *parser) chained(e expression) expression {
	p.nodes++
	return e
}

// tuple is an expression, or several with commas between them.
func (p *parser) tuple() expression { return p.tupleOf(p.expression) }

func (p *parser) tupleOf(item func() expression) expression {
	first := item()
	if !p.is(operator, ",") {
		return first
	}
	items := []expression{first}
	for p.accept(operator, ",") {
		if t := p.peek(); t.kind == endBlock || t.kind == endVariable || p.is(operator, ")") || p.is(operator, "=") {
			break
		}
		items = append(items, item())
	}
	return list{items, true}
}

// leftAssociative reads operands with operators of one precedence between them.
func (p *parser) leftAssociative(k kind, ops []string, operandOf func() expression) expression {
	left := operandOf()
	for chain := 0; p.peek().kind == k && slices.Contains(ops, p.peek().text); chain++ {
		t := p.next()
		if p.nest+chain > maxNest {
			// Each link nests the ones before it.
			fail(t.line, Limit, "more than %d operators in a row", maxNest)
		}
		left = p.chained(binary{t.text, left, operandOf(), t.line})
	}
	return left
}

func (p *parser) orExpression() expression {
	return p.leftAssociative(nameToken, []string{"or"}, func() expression {
		return p.leftAssociative(nameToken, []string{"and"}, p.notExpression)
	})
}

func (p *parser) notExpression() expression {
	defer p.deeper()()
	if t := p.peek(); p.accept(nameToken, "not") {
		return unary{"not", p.notExpression(), t.line}
	}
	return p.comparison()
}

func (p *parser) comparison() expression {
	c := comparison{first: p.sum(), line: p.peek().line}
	for {
		t := p.peek()
		op := t.text
		switch {
		case t.kind == operator && slices.Contains([]string{"==", "!=", "<", "<=", ">", ">="}, op):
			p.next()
		case t.kind == nameToken && op == "in":
			p.next()
		case t.kind == nameToken && op == "not" && p.tokens[p.at+1].kind == nameToken && p.tokens[p.at+1].text == "in":
			p.next()
			p.next()
			op = "not in"
		default:
			if c.rest == nil {
				return c.first
			}
			return c
		}
		p.nodes++
		c.rest = append(c.rest, operand{op, p.sum()})
	}
}

func (p *parser) sum() expression {
	return p.leftAssociative(operator, []string{"+", "-"}, p.concat)
}

func (p *parser) concat() expression {
	line, first := p.peek().line, p.product()
	if !p.is(operator, "~") {
		return first
	}
	parts := []expression{first}
	for p.accept(operator, "~") {
		p.nodes++
		parts = append(parts, p.product())
	}
	return concat{parts, line}
}

func (p *parser) product() expression {
	return p.leftAssociative(operator, []string{"*", "/", "//", "%"}, func() expression {
		return p.leftAssociative(operator, []string{"**"}, func() expression { return p.unary(true) })
	})
}

// unary binds a sign more tightly than a filter: -x|abs is (-x)|abs.
func (p *parser) unary(withFilters bool) expression {
	defer p.deeper()()
	var value expression
	if t := p.peek(); t.kind == operator && (t.text == "-" || t.text == "+") {
		p.next()
		value = unary{t.text, p.unary(false), t.line}
	} else {
		value = p.primary()
	}
	value = p.postfix(value)
	if withFilters {
		value = p.filters(value)
	}
	return value
}

func (p *parser) primary() expression {
	t := p.next()
	switch t.kind {
	case nameToken:
		switch t.text {
		case "true", "True":
			return literal{true}
		case "false", "False":
			return literal{false}
		case "none", "None":
			return literal{nil}
		}
		return name{t.text, t.line}
	case stringToken:
		var value strings.Builder
		value.WriteString(t.text)
		for p.peek().kind == stringToken {
			value.WriteString(p.next().text)
		}
		return literal{value.String()}
	case intToken:
		n, err := strconv.ParseInt(t.text, 10, 64)
		if err != nil {
			fail(t.line, Unsupported, "the number %.40s", t.text)
		}
		return literal{n}
	case floatToken:
		x, err := strconv.ParseFloat(t.text, 64)
		if err != nil {
			fail(t.line, Unsupported, "the number %.40s", t.text)
		}
		return literal{x}
	case operator:
		switch t.text {
		case "(":
			if p.accept(operator, ")") {
				return list{nil, true}
			}
			value := p.tuple()
			p.expect(operator, ")")
			return value
		case "[":
			var items []expression
			for !p.accept(operator, "]") {
				if len(items) > 0 {
					p.expect(operator, ",")
					if p.accept(operator, "]") {
						break
					}
				}
				items = append(items, p.expression())
			}
			return list{items, false}
		case "{":
			return p.dictionary(t.line)
		}
	}
	fail(t.line, Syntax, "unexpected %v", t)
	return nil
}

func (p *parser) dictionary(line int) expression {
	d := dictionary{line: line}
	for !p.accept(operator, "}") {
		if len(d.keys) > 0 {
			p.expect(operator, ",")
			if p.accept(operator, "}") {
				break
			}
		}
		d.keys = append(d.keys, p.expression())
		p.expect(operator, ":")
		d.values = append(d.values, p.expression())
	}
	return d
}

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
		if t.kind == operator && (t.text == "*" || t.text == "**") {
			fail(t.line, Unsupported, "an argument with %s", t.text)
		}
		if t.kind == nameToken && p.tokens[p.at+1].kind == operator && p.tokens[p.at+1].text == "=" {
			p.next()
			p.next()
			a.names = append(a.names, t.text)
			a.named = append(a.named, p.expression())
			continue
		}
		if len(a.names) > 0 {
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
	line := p.expect(operator, "|").line
	f := filter{of: of, name: p.name(), line: line}
	if filters[f.name] == nil {
		fail(line, Unsupported, "the filter %q", f.name)
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
		fail(line, Unsupported, "the test %q", t.name)
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
