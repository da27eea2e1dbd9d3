package tokenizer

import (
	"fmt"
	"regexp"
	"strings"
)

// compilePattern translates the part of Oniguruma's syntax that means the same to Go's regexp, which matches in linear
// time; everything else is an error that names the construct. \s and \d are Unicode there and ASCII in Go.
func compilePattern(pattern string) (*regexp.Regexp, error) {
	var out strings.Builder
	inClass := false
	for i := 0; i < len(pattern); i++ {
		c := pattern[i]
		switch {
		case c == '\\' && i+1 < len(pattern):
			i++
			switch e := pattern[i]; e {
			case 's', 'd':
				set := `\t-\r\x{85}\p{Z}`
				if e == 'd' {
					set = `\p{Nd}`
				}
				if !inClass {
					set = "[" + set + "]"
				}
				out.WriteString(set)
			case 'S', 'D':
				if inClass {
					return nil, fmt.Errorf(`\%c inside a class`, e)
				}
				out.WriteString(map[byte]string{'S': `[^\t-\r\x{85}\p{Z}]`, 'D': `\P{Nd}`}[e])
			case 'p', 'P', 'n', 'r', 't':
				out.WriteString(`\` + string(e))
			default:
				if e >= '0' && e <= '9' || e >= 'A' && e <= 'Z' || e >= 'a' && e <= 'z' || e >= 0x80 {
					return nil, fmt.Errorf(`\%c`, e)
				}
				out.WriteString(`\` + string(e))
			}
			continue
		case inClass && (c == '[' || c == '&' && strings.HasPrefix(pattern[i:], "&&")):
			return nil, fmt.Errorf("%q inside a class", c)
		case !inClass && c == '(' && strings.HasPrefix(pattern[i:], "(?") && !strings.HasPrefix(pattern[i:], "(?:"):
			return nil, fmt.Errorf("a look-around or an option, %q", pattern[i:min(len(pattern), i+4)])
		case !inClass && (c == '^' || c == '$'):
			return nil, fmt.Errorf("the anchor %q", c)
		case !inClass && (c == '+' || c == '?') && i > 0 && strings.IndexByte("+*?}", pattern[i-1]) >= 0 && (i < 2 || pattern[i-2] != '\\'):
			return nil, fmt.Errorf("a lazy or possessive repetition, %q", pattern[i-1:i+1])
		case c == '[' && !inClass:
			inClass = true
			if strings.HasPrefix(pattern[i:], "[^") {
				out.WriteString("[")
				i++
				c = '^'
			}
		case c == ']' && inClass:
			inClass = false
		}
		out.WriteByte(c)
	}
	return regexp.Compile(out.String())
}
