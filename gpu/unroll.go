package gpu

import (
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
)

// Specialize rewrites `const NAME: u32 = 1u;` lines (f32 and bool constants too are not needed so far) by name and
// expands the file's unroll blocks. A constant that the file does not declare is a bug and panics.
//
// A block starts with a line `// unroll i NAME {` and ends with `// }`; it stands in the file as its own first
// iteration, so that the file reads as WGSL, at the smallest tile. In iteration n the identifier suffix `_i0` becomes
// `_in`, and `0u /*i*/` becomes `nu /*i*/`. Blocks nest. Register tiles need this because WGSL clamps dynamic indices
// into arrays, which costs more than the arithmetic.
func Specialize(name, source string, constants map[string]uint32) string {
	names := make([]string, 0, len(constants))
	for n := range constants {
		names = append(names, n)
	}
	sort.Strings(names)
	for _, n := range names {
		line := regexp.MustCompile(`(?m)^const ` + n + `: u32 = \d+u;`)
		if !line.MatchString(source) {
			panic(fmt.Sprintf("gpu: %s declares no `const %s: u32`", name, n))
		}
		source = line.ReplaceAllString(source, fmt.Sprintf("const %s: u32 = %du;", n, constants[n]))
	}
	values := map[string]int{}
	for _, m := range constLine.FindAllStringSubmatch(source, -1) {
		values[m[1]], _ = strconv.Atoi(m[2])
	}
	lines, rest := unroll(name, strings.Split(source, "\n"), values, false)
	if len(rest) > 0 {
		panic("gpu: " + name + ": `// }` without a block")
	}
	return strings.Join(lines, "\n")
}

var (
	constLine  = regexp.MustCompile(`(?m)^const (\w+): u32 = (\d+)u;`)
	blockStart = regexp.MustCompile(`^\s*// unroll (\w+) (\w+) \{$`)
	blockEnd   = regexp.MustCompile(`^\s*// \}$`)
)

// unroll expands lines up to the end of the block they are in, and returns what follows that end.
func unroll(name string, lines []string, values map[string]int, inside bool) (out, rest []string) {
	for len(lines) > 0 {
		line := lines[0]
		lines = lines[1:]
		if blockEnd.MatchString(line) {
			if !inside {
				return out, append([]string{line}, lines...)
			}
			return out, lines
		}
		m := blockStart.FindStringSubmatch(line)
		if m == nil {
			out = append(out, line)
			continue
		}
		count, ok := values[m[2]]
		if !ok {
			panic(fmt.Sprintf("gpu: %s unrolls over %s, which is no u32 constant", name, m[2]))
		}
		var body []string
		body, lines = unroll(name, lines, values, true)
		text := strings.Join(body, "\n")
		suffix := regexp.MustCompile(`_` + m[1] + `0\b|_` + m[1] + `0_`)
		for i := 0; i < count; i++ {
			n := strconv.Itoa(i)
			s := suffix.ReplaceAllStringFunc(text, func(match string) string { return strings.Replace(match, "0", n, 1) })
			s = strings.ReplaceAll(s, "0u /*"+m[1]+"*/", n+"u /*"+m[1]+"*/")
			out = append(out, strings.Split(s, "\n")...)
		}
	}
	if inside {
		panic("gpu: " + name + ": unroll block without an end")
	}
	return out, nil
}
