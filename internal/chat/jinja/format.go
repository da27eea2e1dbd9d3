package jinja

import (
	"strings"
	"unicode/utf8"
)

// formatFilter is value % arguments: positional ones, or else those by name.
func formatFilter(m *machine, v Value, a args) Value {
	switch {
	case len(a.positional) > 0 && len(a.named) > 0:
		m.fail("can't handle positional and keyword arguments at the same time")
	case len(a.named) > 0:
		d := &Dict{}
		pairs(m, args{named: a.named, order: a.order}, d.Set)
		return m.formatted(m.str(v), d)
	}
	return m.formatted(m.str(v), tuple(a.positional))
}

// verb is a conversion of Python's % formatting, or a format_spec of str.format.
type verb struct {
	align, sign, fill string // align: "<", ">", "=", "^" or none
	width, precision  int    // precision −1: none
	alternative       bool
	comma             bool
	kind              byte // 0: none
}

// maxWidth bounds widths and precisions.
const maxWidth = 1 << 16

// formatted is Python's text % of.
func (m *machine) formatted(text string, of Value) string {
	m.reads(text)
	from := &operands{m: m}
	switch v := of.(type) {
	case tuple:
		from.list = v
	case *Dict:
		from.dict, from.list = v, []Value{v}
	default:
		from.list = []Value{v}
	}
	var out strings.Builder
	for text != "" {
		at := strings.IndexByte(text, '%')
		if at < 0 {
			at = len(text)
		}
		m.built(at)
		out.WriteString(text[:at])
		if text = text[at:]; text == "" {
			break
		}
		v, rest, value := from.conversion(text[1:])
		text = rest
		if v.kind == '%' {
			out.WriteByte('%')
			continue
		}
		out.WriteString(m.pad(v, m.converted(v, value), numeric(v.kind)))
	}
	_, isList := of.(List)
	if from.at < len(from.list) && from.dict == nil && !isList {
		m.fail("not all arguments converted during string formatting")
	}
	return m.text(out.String())
}

// operands are what conversions take one after another, or by name.
type operands struct {
	m    *machine
	list []Value
	at   int
	dict *Dict
}

func (o *operands) next() Value {
	if o.at >= len(o.list) {
		o.m.fail("not enough arguments for format string")
	}
	o.at++
	return o.list[o.at-1]
}

// conversion reads what follows a % sign.
func (o *operands) conversion(s string) (v verb, rest string, value Value) {
	m := o.m
	m.work(1)
	v = verb{precision: -1, align: ">"}
	named := false
	if strings.HasPrefix(s, "(") {
		end := strings.IndexByte(s, ')')
		switch {
		case end < 0:
			m.fail("incomplete format key")
		case o.dict == nil:
			m.fail("format requires a mapping")
		}
		found, there := m.member(o.dict, s[1:end])
		if !there {
			m.fail("'%s' is not in the mapping", s[1:end])
		}
		value, named, s = found, true, s[end+1:]
	}
	for zero := false; ; s = s[1:] {
		switch {
		case strings.HasPrefix(s, "-"):
			v.align = "<"
		case strings.HasPrefix(s, "0"):
			zero = true
		case strings.HasPrefix(s, "+"):
			v.sign = "+"
		case strings.HasPrefix(s, " "):
			if v.sign == "" {
				v.sign = " "
			}
		case strings.HasPrefix(s, "#"):
			v.alternative = true
		default:
			if zero && v.align == ">" {
				v.align, v.fill = "=", "0"
			}
			goto width
		}
	}
width:
	v.width, s = o.size(s)
	if v.width < 0 {
		v.align, v.width = "<", -v.width
	}
	if strings.HasPrefix(s, ".") {
		v.precision, s = o.size(s[1:])
		v.precision = max(0, v.precision)
	}
	s = s[len(s)-len(strings.TrimLeft(s, "hlL")):]
	if s == "" {
		m.fail("incomplete format")
	}
	v.kind = s[0]
	if !strings.ContainsRune("diouxXeEfFgGcrsa%", rune(v.kind)) {
		r, _ := utf8.DecodeRuneInString(s)
		m.fail("unsupported format character '%c'", r)
	}
	if v.kind != '%' && !named {
		value = o.next()
	}
	return v, s[1:], value
}

// size is a number, or * for the next operand.
func (o *operands) size(s string) (n int, rest string) {
	if rest, star := strings.CutPrefix(s, "*"); star {
		given, _, isInt, ok := number(o.next())
		if !ok || !isInt {
			o.m.fail("* wants int")
		}
		if given > maxWidth || given < -maxWidth {
			fail(o.m.line, Limit, "a width of more than %d", maxWidth)
		}
		return int(given), rest
	}
	return o.m.digits(s)
}

func (m *machine) digits(s string) (n int, rest string) {
	end := 0
	for end < len(s) && s[end] >= '0' && s[end] <= '9' {
		n = n*10 + int(s[end]-'0')
		if n > maxWidth {
			fail(m.line, Limit, "a width of more than %d", maxWidth)
		}
		end++
	}
	return n, s[end:]
}
