package jinja

import (
	"slices"
	"strconv"
	"strings"
)

func (p *parser) expression() expression {
	defer p.deeper()()
	unknown := len(p.unknown)
	value := p.orExpression()
	for p.accept(nameToken, "if") {
		p.unknown = p.unknown[:unknown]
		condition := p.orExpression()
		c := conditional{condition: condition, then: value}
		if p.accept(nameToken, "else") {
			p.conditions++
			c.otherwise = p.expression()
			p.conditions--
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
		p.mentioned[t.text]++
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
