package jinja

import (
	"math"
	"strings"
)

func (m *machine) arithmetic(op string, a, b Value) Value {
	n, x, aInt, okA := number(a)
	k, y, bInt, okB := number(b)
	if okA && okB {
		if aInt && bInt && op != "/" {
			return m.integer(op, n, k)
		}
		return m.float(op, x, y)
	}
	_, markedA := a.(markup)
	_, markedB := b.(markup)
	if op == "+" && (markedA || markedB) && isText(a) && isText(b) {
		s, t := m.escapeHTML(a), m.escapeHTML(b)
		m.built(len(s) + len(t))
		return s + t
	}
	if op == "*" && (markedA || markedB) {
		text, _ := m.arithmetic(op, plain(a), plain(b)).(string)
		return markup(text)
	}
	if op == "%" && isText(a) {
		return m.formatted(plain(a).(string), b)
	}
	if op == "+" {
		if s, ok := a.(string); ok {
			if t, ok := b.(string); ok {
				m.built(len(s) + len(t))
				return s + t
			}
		}
		p, okP := sequence(a)
		q, okQ := sequence(b)
		if okP && okQ && typeName(a) == typeName(b) {
			m.built(16 * (len(p) + len(q)))
			m.work(len(p) + len(q))
			items := append(append(make([]Value, 0, len(p)+len(q)), p...), q...)
			if _, ok := a.(tuple); ok {
				return tuple(items)
			}
			return List(items)
		}
	}
	if op == "*" && (okA && aInt || okB && bInt) {
		if okA {
			n, k, a, b = k, n, b, a
		}
		return m.repeat(a, k)
	}
	m.undefinedOperand(a, b)
	m.fail("unsupported operand type(s) for %s: '%s' and '%s'", op, typeName(a), typeName(b))
	return nil
}

func (m *machine) repeat(v Value, times int64) Value {
	times = max(times, 0)
	if s, ok := v.(string); ok {
		if times > 0 && int64(len(s)) > maxBytes/times {
			m.built(maxBytes + 1)
		}
		m.built(len(s) * int(times))
		return strings.Repeat(s, int(times))
	}
	items, ok := sequence(v)
	if !ok {
		m.undefinedOperand(v)
		m.fail("can't multiply sequence by non-int of type '%s'", typeName(v))
	}
	if times > 0 && int64(len(items)) > maxSteps/times {
		m.work(maxSteps + 1)
	}
	m.work(len(items) * int(times))
	m.built(16 * len(items) * int(times))
	out := make([]Value, 0, len(items)*int(times))
	for range times {
		if len(items) == 0 {
			break
		}
		out = append(out, items...)
	}
	if _, ok := v.(tuple); ok {
		return tuple(out)
	}
	return List(out)
}

func (m *machine) integer(op string, n, k int64) Value {
	overflow := func() { fail(m.line, Unsupported, "integers of more than 64 bits") }
	switch op {
	case "+":
		if sum := n + k; (sum > n) == (k > 0) || k == 0 {
			return sum
		}
		overflow()
	case "-":
		if difference := n - k; (difference < n) == (k > 0) || k == 0 {
			return difference
		}
		overflow()
	case "*":
		if n == 0 || k == 0 {
			return int64(0)
		}
		if product := n * k; product/k == n && !(n == -1 && k == math.MinInt64) && !(k == -1 && n == math.MinInt64) {
			return product
		}
		overflow()
	case "//", "%":
		if k == 0 {
			m.fail("integer division or modulo by zero")
		}
		if k == -1 {
			if op == "%" {
				return int64(0)
			}
			return m.integer("-", 0, n)
		}
		quotient, rest := n/k, n%k
		if rest != 0 && (rest < 0) != (k < 0) {
			quotient, rest = quotient-1, rest+k
		}
		if op == "%" {
			return rest
		}
		return quotient
	case "**":
		if k < 0 {
			return math.Pow(float64(n), float64(k))
		}
		result := int64(1)
		for ; k > 0; k-- {
			m.work(1)
			result = m.integer("*", result, n).(int64)
			if n == 0 || n == 1 {
				break
			}
		}
		return result
	}
	return nil
}

func (m *machine) float(op string, x, y float64) Value {
	if y == 0 && (op == "/" || op == "//" || op == "%") {
		m.fail("division by zero")
	}
	switch op {
	case "+":
		return x + y
	case "-":
		return x - y
	case "*":
		return x * y
	case "/":
		return x / y
	case "//":
		return math.Floor(x / y)
	case "%":
		rest := math.Mod(x, y)
		if rest != 0 && (rest < 0) != (y < 0) {
			rest += y
		}
		return rest
	}
	return math.Pow(x, y)
}
