package jinja

import (
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

func numeric(kind byte) bool { return strings.IndexByte("diouxXeEfFgG", kind) >= 0 }

// converted is a value as % formatting writes it, without padding.
func (m *machine) converted(v verb, value Value) string {
	switch v.kind {
	case 's', 'r', 'a':
		text := m.str(value)
		if v.kind != 's' {
			var out strings.Builder
			m.repr(&out, value, 0)
			text = out.String()
		}
		if v.kind == 'a' {
			text = m.ascii(text)
		}
		return cut(text, v.precision)
	case 'c':
		if text, ok := plain(value).(string); ok && utf8.RuneCountInString(text) == 1 {
			return text
		}
		n, _, isInt, ok := number(value)
		if !ok || !isInt || n < 0 || n > utf8.MaxRune {
			m.fail("%%c requires int or char")
		}
		return string(rune(n))
	}
	n, x, isInt, ok := number(value)
	if !ok {
		m.undefinedOperand(value)
		m.fail("%%%c format: a real number is required, not %s", v.kind, typeName(value))
	}
	switch v.kind {
	case 'd', 'i', 'u':
		if !isInt {
			if math.Abs(x) >= 1<<63 || math.IsNaN(x) {
				fail(m.line, Unsupported, "integers of more than 64 bits")
			}
			n = int64(x)
		}
		return m.integerDigits(v, n, 10)
	case 'o', 'x', 'X':
		if !isInt {
			m.fail("%%%c format: an integer is required, not %s", v.kind, typeName(value))
		}
		return m.integerDigits(v, n, map[byte]int{'o': 8, 'x': 16, 'X': 16}[v.kind])
	}
	return m.float64Text(v, x)
}

// integerDigits is an integer with at least as many digits as the precision says.
func (m *machine) integerDigits(v verb, n int64, base int) string {
	text := strconv.FormatInt(n, base)
	text, negative := strings.CutPrefix(text, "-")
	if v.kind == 'X' {
		text = strings.ToUpper(text)
	}
	if missing := v.precision - len(text); missing > 0 {
		text = m.repeat("0", int64(missing)).(string) + text
	}
	if prefix := map[byte]string{'o': "0o", 'x': "0x", 'X': "0X"}[v.kind]; v.alternative {
		text = prefix + text
	}
	return signed(v, negative, text)
}

func signed(v verb, negative bool, text string) string {
	if negative {
		return "-" + text
	}
	return map[string]string{"+": "+", " ": " "}[v.sign] + text
}

// float64Text is a number by e, f, g or %, in the sense of C.
func (m *machine) float64Text(v verb, x float64) string {
	precision, kind := v.precision, v.kind|0x20
	if precision < 0 {
		precision = 6
	}
	m.built(precision + 310)
	var text string
	switch {
	case math.IsInf(x, 0) || math.IsNaN(x):
		text = floatText(math.Abs(x))
	case kind == 'g':
		text = general(math.Abs(x), max(1, precision), v.alternative)
	default:
		text = strconv.FormatFloat(math.Abs(x), kind, precision, 64)
	}
	if v.kind < 'a' {
		text = strings.ToUpper(text)
	}
	return signed(v, math.Signbit(x), text)
}

// general is C's %g: at most so many significant digits, without zeros at the end.
func general(x float64, precision int, zeros bool) string {
	scientific := strconv.FormatFloat(x, 'e', precision-1, 64)
	mantissa, exponent, _ := strings.Cut(scientific, "e")
	power, _ := strconv.Atoi(exponent)
	trim := func(s string) string {
		if zeros || !strings.Contains(s, ".") {
			return s
		}
		return strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	if power < -4 || power >= precision {
		return trim(mantissa) + "e" + exponent
	}
	return trim(strconv.FormatFloat(x, 'f', precision-1-power, 64))
}

// cut is the first characters of a text; none are cut off for −1.
func cut(text string, characters int) string {
	if characters < 0 {
		return text
	}
	for i := range text {
		if characters == 0 {
			return text[:i]
		}
		characters--
	}
	return text
}

// ascii writes what is not ASCII by its number.
func (m *machine) ascii(text string) string {
	var out strings.Builder
	for _, r := range text {
		switch {
		case r < 0x80:
			out.WriteRune(r)
		case r < 0x100:
			m.escape(&out, 'x', 2, r)
		case r < 0x10000:
			m.escape(&out, 'u', 4, r)
		default:
			m.escape(&out, 'U', 8, r)
		}
	}
	return out.String()
}

// pad brings a text to its width.
func (m *machine) pad(v verb, text string, isNumber bool) string {
	missing := int64(v.width - utf8.RuneCountInString(text))
	if missing <= 0 {
		return text
	}
	fill := v.fill
	if fill == "" {
		fill = " "
	}
	m.built(len(text) + int(missing)*len(fill))
	padding := func(n int64) string { return strings.Repeat(fill, int(n)) }
	switch {
	case v.align == "<":
		return text + padding(missing)
	case v.align == "^":
		return padding(missing/2) + text + padding(missing-missing/2)
	case v.align == "=" && isNumber:
		head := 0
		if slices.Contains([]string{"-", "+", " "}, text[:1]) {
			head = 1
		}
		if len(text) > head+1 && v.alternative && text[head] == '0' && strings.IndexByte("oxX", text[head+1]) >= 0 {
			head += 2
		}
		return text[:head] + padding(missing) + text[head:]
	case v.align == "=" && fill == "0": // % formatting pads texts with blanks
		return strings.Repeat(" ", int(missing)) + text
	}
	return padding(missing) + text
}
